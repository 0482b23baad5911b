//! Makes a table as narrow as a terminal: ids become as long as it takes to tell them apart, times become ages, columns that
//! can be spared go, long texts are cut. A table that fits is left as it is, and so is what goes to a file or a pipe.

use std::collections::BTreeSet;

use ring_types::Timestamp;

use super::view::{Cell, Shrink};
use crate::time::age;

/// Shortest form of an id.
const ID: usize = 8;
/// Shortest form of a long text.
const TEXT: usize = 10;
/// Between two columns.
const GAP: usize = 2;

/// A table before it is drawn: headers and rows of as many cells.
pub(super) struct Grid {
    pub(super) headers: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// Makes it `width` wide where that can be done.
    pub(super) fn fit(&mut self, width: usize, now: Timestamp, spare: &[&str]) {
        if self.width() > width {
            self.shorten_ids();
        }
        if self.width() > width {
            self.show_ages(now);
        }
        for name in spare {
            if self.least_width() > width {
                self.drop_column(name);
            }
        }
        self.cut(width);
    }

    fn columns(&self) -> std::ops::Range<usize> {
        0..self.headers.len()
    }

    fn column_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].text.chars().count());
        cells.chain([self.headers[column].len()]).max().unwrap_or(0)
    }

    fn width(&self) -> usize {
        self.columns().map(|column| self.column_width(column) + GAP).sum::<usize>().saturating_sub(GAP)
    }

    fn can_be_cut(&self, column: usize) -> bool {
        self.rows.iter().any(|row| matches!(row[column].shrink, Shrink::KeepStart | Shrink::KeepEnd))
    }

    /// The width it would have with all long texts cut.
    fn least_width(&self) -> usize {
        let spared = |column: &usize| self.column_width(*column).saturating_sub(self.least(*column));
        self.width() - self.columns().filter(|column| self.can_be_cut(*column)).map(|column| spared(&column)).sum::<usize>()
    }

    fn least(&self, column: usize) -> usize {
        TEXT.max(self.headers[column].len())
    }

    fn shorten_ids(&mut self) {
        for column in self.columns() {
            let ids: BTreeSet<&str> =
                self.rows.iter().filter(|row| row[column].shrink == Shrink::Id).map(|row| row[column].text.as_str()).collect();
            let tells_apart = |length: &usize| ids.iter().map(|id| id.get(..*length)).collect::<BTreeSet<_>>().len() == ids.len();
            let longest = ids.iter().map(|id| id.len()).max().unwrap_or(0);
            let length = (ID..longest).find(tells_apart).unwrap_or(longest);
            for row in self.rows.iter_mut().filter(|row| row[column].shrink == Shrink::Id) {
                row[column].text.truncate(length);
            }
        }
    }

    fn show_ages(&mut self, now: Timestamp) {
        for cell in self.rows.iter_mut().flatten() {
            if let Shrink::Age(time) = cell.shrink {
                cell.text = age(now, time);
            }
        }
    }

    fn drop_column(&mut self, name: &str) {
        let Some(column) = self.headers.iter().position(|header| *header == name) else { return };
        self.headers.remove(column);
        for row in &mut self.rows {
            row.remove(column);
        }
    }

    /// Cuts the widest long text, then the next.
    fn cut(&mut self, width: usize) {
        while let Some(over) = self.width().checked_sub(width).filter(|over| *over > 0) {
            let long = self.columns().filter(|column| self.can_be_cut(*column));
            let Some(widest) = long.max_by_key(|column| self.column_width(*column)) else { return };
            let target = self.column_width(widest).saturating_sub(over).max(self.least(widest));
            if target >= self.column_width(widest) {
                return;
            }
            for row in &mut self.rows {
                row[widest].cut(target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_776_000_090_000);

    fn grid() -> Grid {
        let row = |id: &str, image: &str| {
            vec![Cell::id(id), Cell::time(Timestamp(1_776_000_000_000)), Cell::time(NOW), Cell::keep_end(image), "web".into()]
        };
        let rows = vec![
            row("11111111-aaaa-7000-8000-000000000001", "registry/team/web:1"),
            row("11111111-bbbb-7000-8000-000000000002", "web:2"),
        ];
        Grid { headers: vec!["Id", "Created", "Updated", "Image", "Name"], rows }
    }

    fn shown(width: usize) -> Vec<String> {
        let mut grid = grid();
        grid.fit(width, NOW, &["Updated"]);
        let line = |row: &Vec<Cell>| row.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>().join(" | ");
        grid.rows.iter().map(line).collect()
    }

    #[test]
    fn what_fits_stays() {
        assert_eq!(shown(200)[0].len(), 36 + 3 + 19 + 3 + 19 + 3 + 19 + 3 + 3);
    }

    #[test]
    fn ids_are_as_long_as_it_takes() {
        assert!(shown(100)[0].starts_with("11111111-a | 2026-04-12 13:20:00 | "), "{:?}", shown(100));
    }

    #[test]
    fn then_times_are_ages_and_texts_are_cut() {
        assert_eq!(shown(56)[0], "11111111-a | 90s | 0s | registry/team/web:1 | web");
        assert_eq!(shown(50), ["11111111-a | 90s | 0s | …ry/team/web:1 | web", "11111111-b | 90s | 0s | web:2 | web"]);
    }

    #[test]
    fn what_can_be_spared_goes_before_texts_lose_all() {
        assert_eq!(shown(45)[0], "11111111-a | 90s | …gistry/team/web:1 | web");
    }

    #[test]
    fn what_cannot_be_cut_is_left() {
        assert!(shown(5)[0].ends_with("| web"));
    }
}
