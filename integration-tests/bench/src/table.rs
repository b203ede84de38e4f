//! Figures, and the table of them: the median of the rounds, the lowest and highest beside it, and the ratio.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// What a scenario gives, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures(pub(crate) Vec<(String, f64)>);

impl Figures {
    /// From names that end with their units.
    pub(crate) fn new<const N: usize>(figures: [(&str, f64); N]) -> Self {
        Self(
            figures
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    /// One more.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), value));
    }

    /// Those of another measurement, each name behind `prefix`.
    pub(crate) fn extend(&mut self, prefix: &str, others: Self) {
        let others = others
            .0
            .into_iter()
            .map(|(name, value)| (format!("{prefix}{name}"), value));
        self.0.extend(others);
    }

    /// The three quantiles that matter.
    pub(crate) fn add_latencies(&mut self, prefix: &str, mut latencies: Vec<Duration>) {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            self.add(format!("{prefix}{name} ms"), quantile_ms(&mut latencies, quantile));
        }
    }
}

/// The value below which this part of all lies; 0 of none.
pub(crate) fn quantile_ms(all: &mut [Duration], quantile: f64) -> f64 {
    if all.is_empty() {
        return 0.0;
    }
    let at = ((all.len() as f64 * quantile) as usize).min(all.len() - 1);
    let (_, value, _) = all.select_nth_unstable(at);
    value.as_secs_f64() * 1e3
}

/// One figure of one scenario, by target and round.
struct Row {
    scenario: &'static str,
    figure: String,
    values: Vec<Vec<f64>>,
}

/// Every round's figures.
pub(crate) struct Results {
    targets: Vec<&'static str>,
    rows: Vec<Row>,
}

impl Results {
    /// For these targets, the one to compare with first.
    pub(crate) fn new(targets: Vec<&'static str>) -> Self {
        Self {
            targets,
            rows: Vec::new(),
        }
    }

    /// Takes the figures of one scenario on the target with this index.
    pub(crate) fn add(&mut self, scenario: &'static str, target: usize, figures: &Figures) {
        for (figure, value) in &figures.0 {
            let known = self
                .rows
                .iter()
                .position(|it| it.scenario == scenario && it.figure == *figure);
            let at = known.unwrap_or_else(|| {
                let values = vec![Vec::new(); self.targets.len()];
                self.rows.push(Row {
                    scenario,
                    figure: figure.clone(),
                    values,
                });
                self.rows.len() - 1
            });
            self.rows[at].values[target].push(*value);
        }
    }

    /// In Markdown, scenarios in the order in which `order` names them.
    pub(crate) fn table(&self, order: &[&str]) -> String {
        let two = self.targets.len() == 2;
        let mut text = String::from("| scenario | figure |");
        for target in &self.targets {
            // Writing to a string does not fail.
            let _ = write!(text, " {target} | low–high |");
        }
        if two {
            let _ = write!(text, " {} / {} | better |", self.targets[1], self.targets[0]);
        }
        let _ = write!(
            text,
            "\n|---|---|{}{}\n",
            "--:|--:|".repeat(self.targets.len()),
            if two { "--:|---|" } else { "" }
        );
        for scenario in order {
            for row in self.rows.iter().filter(|it| it.scenario == *scenario) {
                let _ = writeln!(text, "{}", self.line(row, two));
            }
        }
        text
    }

    fn line(&self, row: &Row, two: bool) -> String {
        let mut line = format!("| {} | {} |", row.scenario, row.figure);
        for values in &row.values {
            let _ = match median(values) {
                None => write!(line, " – | – |"),
                Some(median) => {
                    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    write!(line, " {} | {}–{} |", show(median), show(low), show(high))
                }
            };
        }
        if two {
            let ratio = match (median(&row.values[0]), median(&row.values[1])) {
                (Some(base), Some(ours)) if base > 0.0 => format!("{:.2}", ours / base),
                _ => "–".to_owned(),
            };
            let better = if row.figure.ends_with("/s") { "higher" } else { "lower" };
            let better = if row.figure.contains("acknowledged records") {
                ""
            } else {
                better
            };
            let _ = write!(line, " {ratio} | {better} |");
        }
        line
    }

    /// Every round's figures, for a machine.
    pub(crate) fn json(&self) -> Value {
        self.rows
            .iter()
            .map(|row| {
                let mut object = json!({ "scenario": row.scenario, "figure": row.figure });
                for (target, values) in self.targets.iter().zip(&row.values) {
                    object[*target] = json!(values);
                }
                object
            })
            .collect()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Three digits are what the noise leaves.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        big if big >= 100.0 => {
            let digits = format!("{value:.0}");
            let start = usize::from(digits.starts_with('-'));
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > start && (digits.len() - index).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        middling if middling >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_spreads_and_ratios() {
        let mut results = Results::new(vec!["kafka", "ottla"]);
        for (target, values) in [(0, [2.0, 4.0, 30.0]), (1, [1.0, 2.0, 3.0])] {
            for value in values {
                results.add(
                    "b",
                    target,
                    &Figures::new([("CPU s/GB", value), ("MB/s", 1000.0 * value)]),
                );
            }
        }
        results.add("a", 0, &Figures::new([("lost records", 0.0)]));
        assert_eq!(
            results.table(&["a", "b"]),
            "\
| scenario | figure | kafka | low–high | ottla | low–high | ottla / kafka | better |
|---|---|--:|--:|--:|--:|--:|---|
| a | lost records | 0.00 | 0.00–0.00 | – | – | – | lower |
| b | CPU s/GB | 4.00 | 2.00–30.0 | 2.00 | 1.00–3.00 | 0.50 | lower |
| b | MB/s | 4,000 | 2,000–30,000 | 2,000 | 1,000–3,000 | 0.50 | higher |
"
        );
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let check = |value: f64, expected: &str| assert_eq!(show(value), expected);
        check(0.0, "0.00");
        check(1.234, "1.23");
        check(12.34, "12.3");
        check(123.4, "123");
        check(1234.5, "1,234");
        check(-1234567.0, "-1,234,567");
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut all: Vec<Duration> = (1..=1000).rev().map(Duration::from_millis).collect();
        let mut check = |quantile: f64, expected: f64| assert_eq!(quantile_ms(&mut all, quantile), expected);
        check(0.5, 501.0);
        check(0.999, 1000.0);
        check(1.0, 1000.0);
        assert_eq!(quantile_ms(&mut [], 0.5), 0.0);
    }
}
