//! Whose a line of output is, before the line: `web/1a2b host-1 |`.

use owo_colors::{AnsiColors, OwoColorize};
use ring_api::model::LogLine;
use ring_types::InstanceId;

/// Colours of instances, in the order they are seen.
const COLOURS: [AnsiColors; 6] =
    [AnsiColors::Cyan, AnsiColors::Yellow, AnsiColors::Green, AnsiColors::Magenta, AnsiColors::Blue, AnsiColors::Red];
/// Characters of the end of an id: the beginning is its time of birth, which instances share.
const SHORT: usize = 4;
const LONG: usize = 8;

/// What stands before lines. Nothing while there is one instance only.
pub(super) struct Margin {
    name: String,
    /// There are several, or may be.
    several: bool,
    colour: bool,
    seen: Vec<(InstanceId, String)>,
    width: usize,
}

impl Margin {
    pub(super) fn new(name: &str, several: bool, colour: bool) -> Self {
        Self { name: name.to_owned(), several, colour, seen: Vec::new(), width: 0 }
    }

    /// The line as it was written; with several instances, whose it is.
    pub(super) fn line(&mut self, line: &LogLine) -> String {
        let number = self.number(line);
        self.several |= self.seen.len() > 1;
        if !self.several {
            return line.line.clone();
        }
        let width = self.width;
        let (label, plain) = (format!("{:<width$} |", self.seen[number].1), &line.line);
        if self.colour {
            return format!("{} {plain}", label.color(COLOURS[number % COLOURS.len()]));
        }
        format!("{label} {plain}")
    }

    fn number(&mut self, line: &LogLine) -> usize {
        if let Some(known) = self.seen.iter().position(|(id, _)| *id == line.instance) {
            return known;
        }
        let end = |length: usize| {
            let id = line.instance.0.simple().to_string();
            id.get(id.len() - length..).unwrap_or(&id).to_owned()
        };
        let label = |length: usize| format!("{}/{} {}", self.name, end(length), line.node).trim_end().to_owned();
        let alike = self.seen.iter().any(|(id, _)| id.0.simple().to_string().ends_with(&end(SHORT)));
        let label = label(if alike { LONG } else { SHORT });
        self.width = self.width.max(label.chars().count());
        self.seen.push((line.instance, label));
        self.seen.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring_types::Timestamp;

    fn line(instance: u128, node: &str, text: &str) -> LogLine {
        LogLine {
            instance: InstanceId(uuid::Uuid::from_u128(instance)),
            node: node.to_owned(),
            timestamp: Some(Timestamp(0)),
            stream: ring_api::model::LogStream::Stdout,
            line: text.to_owned(),
        }
    }

    #[test]
    fn one_instance_is_bare_until_another_comes() {
        let mut margin = Margin::new("web", false, false);
        assert_eq!(margin.line(&line(0x1a2b, "host-1", "a")), "a");
        assert_eq!(margin.line(&line(0x3c4d, "host-10", "b")), "web/3c4d host-10 | b");
        assert_eq!(margin.line(&line(0x1a2b, "host-1", "c")), "web/1a2b host-1  | c");
    }

    #[test]
    fn ends_of_ids_that_are_alike_become_longer() {
        let mut margin = Margin::new("web", true, false);
        assert_eq!(margin.line(&line(0x1111_1a2b, "h", "a")), "web/1a2b h | a");
        assert_eq!(margin.line(&line(0x2222_1a2b, "h", "b")), "web/22221a2b h | b");
    }

    #[test]
    fn colour_is_only_before_the_line() {
        let mut margin = Margin::new("web", true, true);
        assert_eq!(margin.line(&line(0x1a2b, "h", "a")), "\u{1b}[36mweb/1a2b h |\u{1b}[39m a");
    }
}
