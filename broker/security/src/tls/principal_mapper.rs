//! `ssl.principal.mapping.rules`: which user a certificate's name stands for.
//!
//! `DEFAULT` takes the name as it is; `RULE:pattern/replacement/` takes it if the pattern matches all of it, and puts the
//! replacement in the place of each match, in small (`L`) or capital (`U`) letters if asked. The first that matches counts.
//! Patterns are those of the crate `regex`: what only Java's have (look-around, references back within the pattern) is
//! refused at the start.
//!
//! Source: Kafka 3.9 `SslPrincipalMapper`; KIP-371.

use std::sync::LazyLock;

use regex::Regex;

/// A rule: what [`RULE_SPLITTER`] and [`RULE_PARSER`] are made of. Kafka's own.
const RULE: &str = r"(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?).*?|(.*?)";

static RULE_SPLITTER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!(r"\s*({RULE})\s*(?:,\s*|$)")).expect("a constant pattern"));
static RULE_PARSER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("^(?:{RULE})")).expect("a constant pattern"));

/// Rules that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRule(String);

/// No rule takes a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No rules apply to {name}, rules {rules}")]
pub struct NoMatchingRule {
    name: String,
    rules: String,
}

/// The rules of a listener.
#[derive(Clone, Debug)]
pub struct PrincipalMapper {
    rules: Vec<Rule>,
    text: String,
}

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Replace {
        whole: Regex,
        part: Regex,
        replacement: Vec<Piece>,
        case: Case,
    },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Group(usize),
}

impl PrincipalMapper {
    /// Reads rules; none at all (an empty text) matches nothing, as in Kafka.
    ///
    /// # Errors
    /// One of them is none.
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        let mut rules = Vec::new();
        for found in RULE_SPLITTER.captures_iter(text.trim()) {
            let rule = found.get(1).map_or("", |rule| rule.as_str());
            let Some(parsed) = RULE_PARSER.captures(rule) else {
                return Err(InvalidRule(format!("Invalid rule: {rule}")));
            };
            let rest = &rule[parsed.get(0).map_or(0, |all| all.end())..];
            if !rest.is_empty() {
                return Err(InvalidRule(format!(
                    "Invalid rule: `{rule}`, unmatched substring: `{rest}`"
                )));
            }
            if parsed.get(1).is_some() {
                rules.push(Rule::Default);
            } else if let (Some(pattern), Some(replacement)) = (parsed.get(2), parsed.get(3)) {
                let case = match parsed.get(4).map(|case| case.as_str()) {
                    Some("L") => Case::Lower,
                    Some("U") => Case::Upper,
                    _ => Case::Kept,
                };
                rules.push(Rule::replace(pattern.as_str(), replacement.as_str(), case)?);
            }
        }
        Ok(Self {
            rules,
            text: text.trim().to_owned(),
        })
    }

    /// The user name for a certificate's name.
    ///
    /// # Errors
    /// No rule matches.
    pub fn name(&self, distinguished_name: &str) -> Result<String, NoMatchingRule> {
        let mut applied = self.rules.iter().filter_map(|rule| rule.apply(distinguished_name));
        applied.next().ok_or_else(|| NoMatchingRule {
            name: distinguished_name.to_owned(),
            rules: self.text.clone(),
        })
    }
}

impl Rule {
    fn replace(pattern: &str, replacement: &str, case: Case) -> Result<Self, InvalidRule> {
        let compile = |pattern: &str| {
            Regex::new(pattern)
                .map_err(|error| InvalidRule(format!("Invalid pattern in ssl.principal.mapping.rules: {error}")))
        };
        let part = compile(pattern)?;
        Ok(Self::Replace {
            whole: compile(&format!(r"\A(?:{pattern})\z"))?,
            replacement: pieces(replacement, part.captures_len() - 1),
            part,
            case,
        })
    }

    fn apply(&self, name: &str) -> Option<String> {
        let Self::Replace {
            whole,
            part,
            replacement,
            case,
        } = self
        else {
            return Some(name.to_owned());
        };
        if !whole.is_match(name) {
            return None;
        }
        let replaced = part.replace_all(name, |found: &regex::Captures<'_>| {
            let mut text = String::new();
            for piece in replacement {
                match piece {
                    Piece::Literal(literal) => text.push_str(literal),
                    Piece::Group(group) => text.push_str(found.get(*group).map_or("", |group| group.as_str())),
                }
            }
            text
        });
        Some(match case {
            Case::Kept => replaced.into_owned(),
            Case::Lower => replaced.to_lowercase(),
            Case::Upper => replaced.to_uppercase(),
        })
    }
}

/// Parts a replacement into text and groups. `$12` is group 12 if there is one, else group 1 and a 2; `$9` without a group 9
/// is text; a backslash makes the next letter text.
///
/// Source: Java `Matcher.appendReplacement`; Kafka `SslPrincipalMapper.escapeLiteralBackReferences`.
fn pieces(replacement: &str, groups: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = replacement.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => literal.extend(rest.next()),
            '$' => {
                let mut group = None;
                while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
                    let digit = usize::try_from(digit).unwrap_or(0);
                    match group.unwrap_or(0usize).saturating_mul(10).saturating_add(digit) {
                        next if next <= groups => group = Some(next),
                        _ => break,
                    }
                    rest.next();
                }
                match group {
                    Some(group) => {
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        }
                        pieces.push(Piece::Group(group));
                    }
                    None => literal.push('$'),
                }
            }
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_kafka_reads_them() {
        let check = |rules: &str, valid: bool| assert_eq!(PrincipalMapper::parse(rules).is_ok(), valid, "{rules}");
        check("DEFAULT", true);
        check("", true);
        check("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/", true);
        check("RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, DEFAULT", true);
        check(
            "RULE:^CN=(.*?),OU=(.*?),O=(.*?)$/$1@$2/U ,RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L",
            true,
        );
        for invalid in [
            "default",
            "DEFAUL",
            "DEFAULT/L",
            "DEFAULT/U",
            "RULE:CN=(.*?),OU=ServiceUsers.*/$1",
            "rule:^CN=(.*?),OU=ServiceUsers.*$/$1/",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L/U",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/L",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/U",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/LU",
            "RULE:^CN=(.*?/$1/",
            r"RULE:^CN=(?!x)(.*)$/$1/",
        ] {
            check(invalid, false);
        }
    }

    #[test]
    fn the_first_rule_that_matches_makes_the_name() {
        let many = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, \
                    RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
                    RULE:^cn=(.*?),ou=(.*?),dc=(.*?),dc=(.*?)$/$1@$2/U, \
                    RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, DEFAULT";
        let check = |rules: &str, name: &str, expected: Option<&str>| {
            let found = PrincipalMapper::parse(rules).unwrap().name(name);
            assert_eq!(found.ok().as_deref(), expected, "{rules} on {name}");
        };
        check(many, "CN=Duke,OU=ServiceUsers,O=Org,C=US", Some("duke"));
        check(many, "CN=Duke,OU=SME,O=mycp,L=Fulton,ST=MD,C=US", Some("duke@sme"));
        check(many, "cn=duke,ou=sme,dc=mycp,dc=com", Some("DUKE@SME"));
        check(many, "cN=duke,OU=JavaSoft,O=Sun Microsystems", Some("DUKE"));
        check(
            many,
            "OU=JavaSoft,O=Sun Microsystems,C=US",
            Some("OU=JavaSoft,O=Sun Microsystems,C=US"),
        );
        check("RULE:^CN=(.*?),OU=Users$/$1/", "CN=a,OU=Others", None);
        check("", "CN=a", None);
        check("DEFAULT", "CN=a", Some("CN=a"));
        // Commas in rules and in names.
        check(
            r"RULE:^CN=((\\, *|\w)+)(,.*|$)/$1/,DEFAULT",
            r"CN=Tkac\, Adam,OU=ITZ,DC=geodis,DC=cz",
            Some(r"Tkac\, Adam"),
        );
        // Groups that are not there are text; digits belong to the longest group that is.
        check("RULE:^CN=(.*)$/$1-$2/", "CN=a", Some("a-$2"));
        check("RULE:^CN=(.*)$/$12/", "CN=a", Some("a2"));
        check(r"RULE:^CN=(.*)$/\$1$1/", "CN=a", Some("$1a"));
        check("RULE:^CN=(.*)$/$0!/", "CN=a", Some("CN=a!"));
    }
}
