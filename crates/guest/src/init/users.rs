//! Users and groups as the image has them.

use std::fmt;
use std::fs;
use std::str::FromStr;

/// As whom a program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
}

/// A user found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) ids: Ids,
    pub(super) home: String,
}

/// `name`, `uid`, `user:group`; empty: root.
pub(super) fn look_up(wanted: &str) -> Result<User, String> {
    // An image without these files knows numbers only.
    let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    find(wanted, &read("/etc/passwd"), &read("/etc/group"))
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(Entry { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members, ..] = fields[..] else { return None };
        Some(Group { name, gid: gid.parse().ok()?, members })
    })
}

fn find(wanted: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (user, of) = wanted.split_once(':').map_or((wanted, None), |(user, of)| (user, Some(of)));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let by_name = users(passwd).find(|entry| entry.name == user);
    let entry = by_name.or_else(|| users(passwd).find(|entry| number == Some(entry.uid)));
    let (uid, gid, home) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (uid, 0, ""),
        (None, None) => return Err(format!("user '{user}' is not in the image's /etc/passwd")),
    };
    let home = if home.is_empty() { default_home(uid) } else { home };
    let ids = match of.filter(|of| !of.is_empty()) {
        Some(of) => Ids { uid, gid: group_id(of, group)?, groups: Vec::new() },
        None => Ids { uid, gid, groups: entry.map(|entry| memberships(entry.name, group)).unwrap_or_default() },
    };
    Ok(User { ids, home: home.to_owned() })
}

fn default_home(uid: u32) -> &'static str {
    if uid == 0 { "/root" } else { "/" }
}

fn group_id(wanted: &str, group: &str) -> Result<u32, String> {
    let found = groups(group).find(|group| group.name == wanted).map(|group| group.gid);
    found.or_else(|| wanted.parse().ok()).ok_or_else(|| format!("group '{wanted}' is not in the image's /etc/group"))
}

fn memberships(user: &str, group: &str) -> Vec<u32> {
    let has = |group: &Group<'_>| group.members.split(',').any(|member| member.trim() == user);
    groups(group).filter(has).map(|group| group.gid).collect()
}

/// As one word for [`super::stage`].
impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)?;
        self.groups.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

impl FromStr for Ids {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split(':').map(str::parse);
        let mut next = || numbers.next().unwrap_or(Ok(0));
        Ok(Self { uid: next()?, gid: next()?, groups: numbers.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\n# no\n77:x:5:6::/five:\nbob:x:x:1::/:\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nwheel:x:10:bob,ann\naudio:x:29: ann\nann:x:1000:\n";

    fn found(wanted: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        find(wanted, PASSWD, GROUP).map(|user| (user.ids.uid, user.ids.gid, user.ids.groups, user.home))
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let own = |uid, gid, groups: &[u32], home: &str| Ok((uid, gid, groups.to_vec(), home.to_owned()));
        assert_eq!(found(""), own(0, 0, &[], "/root"));
        assert_eq!(found("ann"), own(1000, 100, &[10, 29], "/home/ann"));
        assert_eq!(found("1000"), own(1000, 100, &[10, 29], "/home/ann"));
        assert_eq!(found("65534"), own(65534, 0, &[], "/"));
        assert_eq!(found("77"), own(5, 6, &[], "/five"), "a name that looks like a number is a name");
        assert_eq!(found("ann:wheel"), own(1000, 10, &[], "/home/ann"));
        assert_eq!(found("ann:7"), own(1000, 7, &[], "/home/ann"));
        assert_eq!(found("5000:6000"), own(5000, 6000, &[], "/"));
        assert_eq!(found(":wheel"), own(0, 10, &[], "/root"));
    }

    #[test]
    fn who_is_not_known_is_named() {
        assert_eq!(found("eve"), Err("user 'eve' is not in the image's /etc/passwd".to_owned()));
        assert_eq!(found("bob"), Err("user 'bob' is not in the image's /etc/passwd".to_owned()));
        assert_eq!(found("ann:none"), Err("group 'none' is not in the image's /etc/group".to_owned()));
        assert_eq!(find("eve", "", "").map(|user| user.home), Err("user 'eve' is not in the image's /etc/passwd".to_owned()));
    }

    #[test]
    fn ids_are_one_word_and_back() {
        let ids = Ids { uid: 1, gid: 2, groups: vec![3, 4] };
        assert_eq!(ids.to_string(), "1:2:3:4");
        assert_eq!("1:2:3:4".parse(), Ok(ids));
        assert!("1:x".parse::<Ids>().is_err());
    }
}
