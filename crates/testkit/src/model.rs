//! What applying, scaling, updating, rolling back, restarting and deleting mean, one after another: a small model in words of its
//! own, for workers with a health check that run nowhere. What several clients did at once has to be explained by one order.
//!
//! Of a name there is one version that stands, and during a rolling update a second one that is to take its place. Nothing is
//! ready in these histories, so an update is over only when somebody says so.

use std::collections::{BTreeMap, BTreeSet};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// What the manifest said.
    pub version: u32,
    /// How many of it.
    pub replicas: u32,
    /// The version before.
    pub previous: Option<u32>,
}

/// What stands for a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The version that serves.
    pub standing: Option<Record>,
    /// The version that is to take its place.
    pub update: Option<Record>,
}

impl Named {
    /// What a manifest of this name is compared with.
    fn current(&self) -> Option<&Record> {
        self.update.as_ref().or(self.standing.as_ref())
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.standing.iter().chain(&self.update)
    }
}

/// What one deployment of a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Name.
    pub name: String,
    /// Version.
    pub version: u32,
    /// Replicas.
    pub replicas: u32,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `POST /deployments`.
    Apply {
        /// The manifest.
        wanted: Vec<Wanted>,
        /// All at once.
        force: bool,
    },
    /// `DELETE /deployments/{id}`.
    Delete(String),
    /// `POST /deployments/{id}/rollback`.
    Rollback(String),
    /// `POST /deployments/{id}/restart`.
    Restart(String),
}

/// What is said of one deployment: its record, and what was done.
pub type Said = (String, &'static str);

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done(Vec<Said>),
    /// There is no such deployment.
    NotFound,
    /// Not as things stand.
    Refused,
}

/// Everything there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// By name.
    pub names: BTreeMap<String, Named>,
    /// Records that were told to go: they may be there still, or be gone.
    gone: BTreeSet<String>,
}

impl Model {
    /// Does a request. Ids of new records are the servers' to choose: `answered` are those of the real answer, in order.
    pub fn act(&mut self, request: &Request, answered: &[String]) -> Answer {
        match request {
            Request::Apply { wanted, force } => {
                let each = wanted.iter().enumerate().map(|(i, one)| {
                    let new = answered.get(i).cloned().unwrap_or_default();
                    self.apply(one, *force, new)
                });
                Answer::Done(each.collect())
            }
            Request::Delete(id) => self.delete(id),
            Request::Rollback(id) => self.rollback(id, answered.first().cloned().unwrap_or_default()),
            Request::Restart(id) => self.restart(id, answered.first().cloned().unwrap_or_default()),
        }
    }

    /// What this request would be answered now, without doing it.
    pub fn would(&self, request: &Request) -> Answer {
        self.clone().act(request, &[])
    }

    fn apply(&mut self, wanted: &Wanted, force: bool, new: String) -> Said {
        let named = self.names.entry(wanted.name.clone()).or_default();
        let Some(current) = named.current().cloned() else {
            named.standing = Some(Record { id: new.clone(), version: wanted.version, replicas: wanted.replicas, previous: None });
            return (new, "created");
        };
        if !force && current.version == wanted.version {
            let same = current.replicas == wanted.replicas;
            // During an update both versions get the number: either may stay.
            for record in named.standing.iter_mut().chain(&mut named.update) {
                record.replicas = if same { record.replicas } else { wanted.replicas };
            }
            return (current.id, if same { "unchanged" } else { "updated" });
        }
        let back = named.standing.as_ref().is_some_and(|standing| standing.version == wanted.version);
        if !force && back && named.update.is_some() {
            return self.call_off(&wanted.name, Some(wanted.replicas));
        }
        self.succeed(&wanted.name, (wanted.version, wanted.replicas), force, new)
    }

    /// The update under way is over, and the version before stays.
    fn call_off(&mut self, name: &str, replicas: Option<u32>) -> Said {
        let named = self.names.entry(name.to_owned()).or_default();
        self.gone.extend(named.update.take().map(|update| update.id));
        let standing = named.standing.as_mut().map(|standing| {
            standing.replicas = replicas.unwrap_or(standing.replicas);
            standing.id.clone()
        });
        (standing.unwrap_or_default(), "restored")
    }

    /// Another version takes the place of what stands: at once, or one instance at a time.
    fn succeed(&mut self, name: &str, (version, replicas): (u32, u32), force: bool, new: String) -> Said {
        let named = self.names.entry(name.to_owned()).or_default();
        let base = named.standing.clone();
        let previous = base.and_then(|base| if base.version == version { base.previous } else { Some(base.version) });
        let record = Record { id: new.clone(), version, replicas, previous };
        self.gone.extend(named.update.take().map(|update| update.id));
        if force {
            self.gone.extend(named.standing.replace(record).map(|standing| standing.id));
            return (new, "replaced");
        }
        named.update = Some(record);
        (new, "updated")
    }

    fn name_of(&self, id: &str) -> Option<String> {
        let has = |named: &Named| named.records().any(|record| record.id == id);
        self.names.iter().find(|(_, named)| has(named)).map(|(name, _)| name.clone())
    }

    fn delete(&mut self, id: &str) -> Answer {
        let Some(name) = self.name_of(id) else {
            // One that is still going is deleted twice without a difference.
            return if self.gone.contains(id) { Answer::Done(Vec::new()) } else { Answer::NotFound };
        };
        let named = self.names.entry(name).or_default();
        self.gone.insert(id.to_owned());
        if named.update.as_ref().is_some_and(|update| update.id == id) {
            named.update = None;
        } else {
            named.standing = named.update.take();
        }
        Answer::Done(Vec::new())
    }

    fn rollback(&mut self, id: &str, new: String) -> Answer {
        let Some(name) = self.name_of(id) else { return Answer::NotFound };
        let named = &self.names[&name];
        if named.update.is_some() {
            return Answer::Done(vec![self.call_off(&name, None)]);
        }
        let Some((previous, replicas)) = named.standing.as_ref().and_then(|one| Some((one.previous?, one.replicas))) else {
            return Answer::Refused;
        };
        Answer::Done(vec![self.succeed(&name, (previous, replicas), false, new)])
    }

    fn restart(&mut self, id: &str, new: String) -> Answer {
        let Some(name) = self.name_of(id) else { return Answer::NotFound };
        let named = &self.names[&name];
        match &named.standing {
            Some(one) if named.update.is_none() => {
                let same = (one.version, one.replicas);
                Answer::Done(vec![self.succeed(&name, same, false, new)])
            }
            _ => Answer::Refused,
        }
    }

    /// Was this record told to go?
    pub fn is_gone(&self, id: &str) -> bool {
        self.gone.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(model: &mut Model, version: u32, replicas: u32, new: &str) -> Answer {
        let wanted = vec![Wanted { name: "web".into(), version, replicas }];
        model.act(&Request::Apply { wanted, force: false }, &[new.to_owned()])
    }

    fn done(id: &str, outcome: &'static str) -> Answer {
        Answer::Done(vec![(id.to_owned(), outcome)])
    }

    #[test]
    fn versions_follow_each_other_and_go_back() {
        let mut model = Model::default();
        assert_eq!(apply(&mut model, 1, 2, "a"), done("a", "created"));
        assert_eq!(apply(&mut model, 1, 2, "x"), done("a", "unchanged"));
        assert_eq!(apply(&mut model, 1, 3, "x"), done("a", "updated"));
        assert_eq!(apply(&mut model, 2, 3, "b"), done("b", "updated"));
        assert_eq!(model.act(&Request::Restart("a".into()), &[]), Answer::Refused);
        assert_eq!(apply(&mut model, 1, 4, "x"), done("a", "restored"));
        assert_eq!(model.names["web"].standing.as_ref().map(|one| one.replicas), Some(4));
        assert_eq!(model.act(&Request::Rollback("a".into()), &[]), Answer::Refused, "there is no version before");
        assert_eq!(apply(&mut model, 2, 4, "c"), done("c", "updated"));
        assert_eq!(model.act(&Request::Delete("a".into()), &[]), Answer::Done(Vec::new()));
        assert_eq!(model.names["web"].standing.as_ref().map(|one| one.id.as_str()), Some("c"), "it stands alone");
        assert_eq!(model.act(&Request::Rollback("c".into()), &["d".into()]), done("d", "updated"));
        assert_eq!(model.act(&Request::Rollback("b".into()), &[]), Answer::NotFound);
        assert!(model.is_gone("b") && !model.is_gone("c"));
    }
}
