//! A table in the form the documents use, readable as plain text too.

use std::fmt::Write;

/// Rows under headings; every row has as many cells as there are headings.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has not one cell for each heading.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.rows[0].len(), "a cell for each heading");
        self.rows.push(cells.into());
    }

    /// The text, without a line end after the last row.
    pub fn render(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let mut lines: Vec<String> = self.rows.iter().map(|row| line(row, &widths)).collect();
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        lines.insert(1, line(&rule, &widths));
        lines.join("\n")
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::from("|");
    for (cell, &width) in cells.iter().zip(widths) {
        let _ = write!(line, " {cell:<width$} |");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["what", "n"]);
        table.row(["p50 µs".to_owned(), "12".to_owned()]);
        assert_eq!(table.render(), "| what   | n  |\n| ------ | -- |\n| p50 µs | 12 |");
    }
}
