//! What an apply would do, for people: one line an object, its changed fields below it, and where new instances would go.

use std::collections::BTreeMap;

use owo_colors::{OwoColorize, Style};
use ring_api::model::{
    ApplyOutcome, FieldChange, Manner, NOT_SHOWN, PlanReply, PlannedConfig, PlannedDeployment, PlannedInstance,
};
use serde_json::Value;

use crate::error::CliError;
use crate::format::Format;
use crate::output::{ObjectView, Screen, View};

/// A plan that can be shown in every format.
pub(crate) struct PlanView(pub(crate) PlanReply);

impl View for PlanView {
    fn render(&self, format: Format, screen: Screen) -> Result<String, CliError> {
        match format {
            Format::Json | Format::Yaml => ObjectView(&self.0).render(format, screen),
            Format::Table | Format::Wide => Ok(text(&self.0, Ink(screen.colour)).join("\n")),
        }
    }
}

/// How many of each, in one line.
pub(crate) fn counts(plan: &PlanReply) -> String {
    let of = |outcome: ApplyOutcome| plan.deployments.iter().filter(|deployment| deployment.outcome == outcome).count();
    let told = ApplyOutcome::ALL.iter().map(|outcome| (of(*outcome), outcome)).filter(|(count, _)| *count > 0);
    let told: Vec<_> = told.map(|(count, outcome)| format!("{count} {outcome}")).collect();
    if told.is_empty() { "no deployments".to_owned() } else { format!("deployments: {}", told.join(", ")) }
}

/// What the writer of the manifest should know.
pub(crate) fn warnings(plan: &PlanReply) -> Vec<String> {
    let told =
        |one: &PlannedDeployment| one.warnings.iter().map(|warning| format!("{}: {warning}", one.label)).collect::<Vec<_>>();
    plan.deployments.iter().flat_map(told).collect()
}

/// Colour, where it is wanted.
#[derive(Clone, Copy)]
struct Ink(bool);

impl Ink {
    fn paint(self, text: &str, style: Style) -> String {
        if self.0 { text.style(style).to_string() } else { text.to_owned() }
    }

    fn came(self, text: &str) -> String {
        self.paint(text, Style::new().green())
    }

    fn went(self, text: &str) -> String {
        self.paint(text, Style::new().red())
    }

    fn title(self, outcome: ApplyOutcome, text: &str) -> String {
        let (sign, style) = match outcome {
            ApplyOutcome::Created => ("+", Style::new().green().bold()),
            ApplyOutcome::Updated | ApplyOutcome::Restored => ("~", Style::new().yellow().bold()),
            ApplyOutcome::Replaced => ("!", Style::new().red().bold()),
            ApplyOutcome::Unchanged => ("=", Style::new().dimmed()),
        };
        self.paint(&format!("{sign} {text}"), style)
    }
}

fn text(plan: &PlanReply, ink: Ink) -> Vec<String> {
    let mut lines = Vec::new();
    for namespace in plan.namespaces.iter().filter(|namespace| namespace.outcome != ApplyOutcome::Unchanged) {
        lines.push(ink.title(namespace.outcome, &format!("namespace {} {}", namespace.name, namespace.outcome)));
    }
    plan.configs.iter().for_each(|one| config(one, ink, &mut lines));
    plan.deployments.iter().for_each(|one| deployment(one, ink, &mut lines));
    lines
}

fn config(config: &PlannedConfig, ink: Ink, lines: &mut Vec<String>) {
    let title = format!("config {}/{} {}", config.namespace, config.name, config.outcome);
    lines.push(ink.title(config.outcome, &title));
    config.changes.iter().for_each(|change| field(change, ink, lines));
}

fn deployment(one: &PlannedDeployment, ink: Ink, lines: &mut Vec<String>) {
    let how = one.how.map(how).unwrap_or_default();
    let title = format!("{} {}/{} {}{how}", one.kind, one.namespace, one.name, one.outcome);
    lines.push(ink.title(one.outcome, &title));
    one.changes.iter().for_each(|change| field(change, ink, lines));
    lines.extend(placement(&one.placement).into_iter().map(|line| format!("    {line}")));
    lines.extend(one.waits_for.iter().map(|message| format!("    before it starts: {message}")));
}

const fn how(manner: Manner) -> &'static str {
    match manner {
        Manner::Create => "",
        Manner::Scale => ": only the number of replicas",
        Manner::Rolling => ": one instance at a time",
        Manner::Replace => ": the old one ends before the new one begins",
        Manner::Restore => ": the rolling update under way is called off",
    }
}

fn field(change: &FieldChange, ink: Ink, lines: &mut Vec<String>) {
    let path = &change.path;
    match (&change.from, &change.to) {
        (Value::String(old), Value::String(new)) if old.contains('\n') || new.contains('\n') => {
            lines.push(format!("    {path}:"));
            lines.extend(text_changes(old, new, ink));
        }
        (Value::Null, Value::String(new)) if new.trim_end().contains('\n') => {
            lines.push(ink.came(&format!("  + {path}:")));
            lines.extend(new.lines().map(|line| ink.came(&format!("      + {line}"))));
        }
        (Value::Null, new) => lines.push(ink.came(&format!("  + {path}: {}", shown(new)))),
        (old, Value::Null) => lines.push(ink.went(&format!("  - {path}: {}", shown(old)))),
        (old, _) if old == NOT_SHOWN => lines.push(format!("  ~ {path}: another one {NOT_SHOWN}")),
        (old, new) => lines.push(format!("  ~ {path}: {} -> {}", ink.went(&shown(old)), ink.came(&shown(new)))),
    }
}

/// A word as it is, a reference as what it refers to, anything else as JSON.
fn shown(value: &Value) -> String {
    if let Some(secret) = value.get("secretRef").and_then(Value::as_str) {
        return format!("secret {secret}");
    }
    match value {
        Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => text.clone(),
        other => other.to_string(),
    }
}

/// The lines between those that both begin and end with.
fn text_changes(old: &str, new: &str, ink: Ink) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(a, b)| a == b).count();
    let gone = old[same..old.len() - tail].iter().map(|line| ink.went(&format!("      - {line}")));
    let came = new[same..new.len() - tail].iter().map(|line| ink.came(&format!("      + {line}")));
    gone.chain(came).collect()
}

/// Nodes with what they would take, then why the rest has none.
fn placement(instances: &[PlannedInstance]) -> Vec<String> {
    let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in instances {
        match (&instance.node, &instance.reason) {
            (Some(node), _) => *nodes.entry(node).or_default() += 1,
            (None, reason) => *reasons.entry(reason.as_deref().unwrap_or("no reason was given")).or_default() += 1,
        }
    }
    let on = |(node, count): (&&str, &usize)| if *count == 1 { (*node).to_owned() } else { format!("{node} ({count})") };
    let mut lines = Vec::new();
    if !nodes.is_empty() {
        let word = if nodes.values().sum::<usize>() == 1 { "new instance" } else { "new instances" };
        lines.push(format!("{word} on {}", nodes.iter().map(on).collect::<Vec<_>>().join(", ")));
    }
    lines.extend(reasons.iter().map(|(reason, count)| format!("no node for {count} of {}: {reason}", instances.len())));
    lines
}

#[cfg(test)]
mod tests {
    use ring_api::manifest::Node;

    use super::*;

    fn plan() -> PlanReply {
        let text = "
revision: 9
namespaces: [{name: production, outcome: created}]
configs:
  - namespace: production
    name: app
    outcome: updated
    changes:
      - {path: data.LEVEL, from: info, to: debug}
      - {path: data.app.conf, from: \"a\\nb\\nc\\n\", to: \"a\\nB\\nc\\n\"}
deployments:
  - label: api
    namespace: production
    name: api
    kind: worker
    outcome: updated
    how: rolling
    changes:
      - {path: image, from: 'myapp:v1', to: 'myapp:v2'}
      - {path: environment.OLD, from: '1', to: null}
      - {path: environment.DATABASE_URL, from: null, to: {secretRef: database-url}}
      - {path: config.password, from: (not shown), to: (not shown)}
    placement:
      - {slot: 0, node: host-1, reason: null}
      - {slot: 1, node: host-1, reason: null}
      - {slot: 2, node: host-2, reason: null}
      - {slot: 3, node: null, reason: insufficient cpu on 2 nodes (500m short)}
    warnings: [secret 'database-url' does not exist in namespace 'production' yet]
  - {label: db, namespace: production, name: db, kind: worker, outcome: replaced, how: replace, changes: [{path: replicas, from: 1, to: 2}]}
  - label: migrate
    namespace: production
    name: migrate
    kind: job
    outcome: created
    how: create
    changes: [{path: command, from: null, to: [npm, run]}]
    placement: [{slot: 0, node: host-2, reason: null}]
    waits_for: waits until 'db' runs and is ready
  - {label: old, namespace: production, name: old, kind: worker, outcome: unchanged}
";
        serde_json::from_value(Node::from_yaml(text).unwrap().to_json()).unwrap()
    }

    #[test]
    fn a_plan_for_people() {
        insta::assert_snapshot!(PlanView(plan()).render(Format::Table, Screen::default()).unwrap());
        assert_eq!(counts(&plan()), "deployments: 1 created, 1 updated, 1 replaced, 1 unchanged");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = PlanView(plan()).render(Format::Table, Screen { colour: true, width: None }).unwrap();
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_ne!(plain, coloured);
        assert_eq!(plain, PlanView(plan()).render(Format::Table, Screen::default()).unwrap());
    }
}
