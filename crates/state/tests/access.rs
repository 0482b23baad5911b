//! Tokens: another secret, and when somebody came with one last.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{World, name};
use ring_state::{ApiToken, Command, RefusalCode, Reply, TokenRotation, TokenUse};
use ring_types::{Revision, Timestamp, TokenId, UserId};
use uuid::Uuid;

const TOKEN: TokenId = TokenId(Uuid::from_u128(7));
const SESSION: TokenId = TokenId(Uuid::from_u128(8));
const ADMIN: UserId = UserId(Uuid::from_u128(1));

fn token(id: TokenId, label: &str, hash: u8) -> ApiToken {
    ApiToken {
        id,
        user: ADMIN,
        name: label.to_owned(),
        hash: [hash; 32],
        scopes: vec!["deployments:write".to_owned()],
        namespaces: vec![name("ci")],
        created_at: Timestamp(0),
        expires_at: None,
        last_used_at: None,
        version: Revision(0),
    }
}

fn world() -> World {
    let mut world = World::new();
    assert_eq!(world.run(Command::CreateToken(token(TOKEN, "ci", 1))), Reply::Done);
    world
}

fn rotate(world: &mut World, id: TokenId, hash: u8) -> Reply {
    world.run(Command::RotateToken(TokenRotation { id, hash: [hash; 32] }))
}

fn refused(reply: Reply) -> RefusalCode {
    let Reply::Refused(refusal) = reply else { panic!("not refused: {reply:?}") };
    refusal.code
}

#[test]
fn a_rotated_token_is_the_same_one_under_another_secret() {
    let mut world = world();
    let before = ApiToken::clone(world.state.token(TOKEN).unwrap());
    assert_eq!(rotate(&mut world, TOKEN, 2), Reply::Done);
    assert!(world.state.token_hashed(&[1; 32]).is_none(), "the old secret is good for nothing");
    let after = world.state.token_hashed(&[2; 32]).unwrap();
    assert_eq!(**after, ApiToken { hash: [2; 32], version: after.version, ..before });
    let rows: Vec<_> = world.state.rows().collect();
    let loaded = ring_state::State::from_rows(world.state.revision(), rows).unwrap();
    assert!(loaded.token_hashed(&[1; 32]).is_none() && loaded.token_hashed(&[2; 32]).is_some());
    world.run(Command::RevokeTokens { ids: vec![TOKEN] });
    assert!(world.state.token_hashed(&[2; 32]).is_none());
}

#[test]
fn what_is_over_or_no_token_is_not_rotated() {
    let mut world = world();
    world.run(Command::CreateToken(token(SESSION, "", 3)));
    assert_eq!(refused(rotate(&mut world, SESSION, 4)), RefusalCode::NotFound, "a session");
    assert_eq!(refused(rotate(&mut world, TokenId(Uuid::nil()), 4)), RefusalCode::NotFound);
    let over = TokenId(Uuid::from_u128(9));
    let end = Some(Timestamp(world.now + 2));
    world.run(Command::CreateToken(ApiToken { expires_at: end, ..token(over, "old", 5) }));
    assert_eq!(refused(rotate(&mut world, over, 6)), RefusalCode::Invalid, "an expired one");
    assert!(world.state.token_hashed(&[4; 32]).is_none() && world.state.token_hashed(&[6; 32]).is_none());
}

#[test]
fn the_last_use_only_goes_forward() {
    let mut world = world();
    let mut note = |at| {
        let used = |token| TokenUse { token, at: Timestamp(at) };
        world.run(Command::NoteTokenUse { uses: vec![used(TOKEN), used(TokenId(Uuid::nil()))] });
        world.state.token(TOKEN).unwrap().last_used_at
    };
    assert_eq!(note(500), Some(Timestamp(500)));
    assert_eq!(note(400), Some(Timestamp(500)), "a control node that was slower");
    assert_eq!(note(900), Some(Timestamp(900)));
    assert_eq!(world.last.unwrap().rows.len(), 2, "the clock and the one that is known");
}
