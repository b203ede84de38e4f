//! Words, quoted texts, numbers and symbols, as Java's `StreamTokenizer` cuts them with Kafka's settings.
//!
//! Words are of letters, digits, `.`, `-`, `_`, `$` and everything beyond ASCII, and do not begin with a digit, `.`
//! or `-` (those begin numbers). `"` and `'` quote, to the end of the line at most, with C's escapes. `/` begins a
//! comment however it goes on, as the tokenizer's own default has it.

use core::iter::Peekable;
use core::str::Chars;

/// One piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, or what stood in quotes.
    Text(String),
    /// A number, of which nobody needs the value.
    Number,
    /// Any other character.
    Symbol(char),
    /// There is no more.
    End,
}

pub(super) struct Tokenizer<'a> {
    rest: Peekable<Chars<'a>>,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars().peekable(),
        }
    }

    pub(super) fn next(&mut self) -> Token {
        loop {
            let Some(first) = self.rest.next() else {
                return Token::End;
            };
            match first {
                '\0'..=' ' => {}
                '/' => self.skip_comment(),
                '0'..='9' | '.' => return self.number(first != '.'),
                '-' => match self.rest.peek() {
                    Some('0'..='9' | '.') => return self.number(true),
                    _ => return Token::Symbol('-'),
                },
                '"' | '\'' => return Token::Text(self.quoted(first)),
                _ if begins_word(first) => {
                    let mut word = String::from(first);
                    while let Some(next) = self.rest.next_if(|next| continues_word(*next)) {
                        word.push(next);
                    }
                    return Token::Text(word);
                }
                _ => return Token::Symbol(first),
            }
        }
    }

    /// After a `/`: to the `*/` if a `*` follows, else to the end of the line.
    fn skip_comment(&mut self) {
        if self.rest.next_if_eq(&'*').is_some() {
            let mut starred = false;
            for next in self.rest.by_ref() {
                if starred && next == '/' {
                    return;
                }
                starred = next == '*';
            }
            return;
        }
        while self.rest.next_if(|next| !matches!(next, '\n' | '\r')).is_some() {}
    }

    /// The rest of a number: digits, and a point if there was none.
    fn number(&mut self, mut point_allowed: bool) -> Token {
        while let Some(next) = self
            .rest
            .next_if(|next| next.is_ascii_digit() || (point_allowed && *next == '.'))
        {
            point_allowed &= next != '.';
        }
        Token::Number
    }

    /// The rest of a quoted text; its closing quote is consumed, the end of a line is not.
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(next) = self.rest.next_if(|next| !matches!(next, '\n' | '\r')) {
            match next {
                _ if next == quote => return text,
                '\\' => match self.rest.next() {
                    Some(escaped) => text.push(self.escaped(escaped)),
                    None => return text,
                },
                _ => text.push(next),
            }
        }
        text
    }

    fn escaped(&mut self, first: char) -> char {
        match first {
            '0'..='7' => {
                // Up to three octal digits, of which the first is at most 3 if there are three.
                let digits = if first <= '3' { 2 } else { 1 };
                let mut code = first.to_digit(8).unwrap_or_default();
                for _ in 0..digits {
                    match self.rest.next_if(|next| ('0'..='7').contains(next)) {
                        Some(digit) => code = code * 8 + digit.to_digit(8).unwrap_or_default(),
                        None => break,
                    }
                }
                char::from_u32(code).unwrap_or_default()
            }
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            other => other,
        }
    }
}

fn begins_word(character: char) -> bool {
    // From U+00A0 on; between are control characters, which are symbols.
    character.is_ascii_alphabetic() || matches!(character, '_' | '$') || character >= '\u{a0}'
}

fn continues_word(character: char) -> bool {
    begins_word(character) || character.is_ascii_digit() || matches!(character, '.' | '-')
}
