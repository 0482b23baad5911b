//! Images and their registries, as far as all drivers that fetch images have it in common: how to log in, who has the last word,
//! and what people are told.

mod login;

use ring_types::StartFailure;

use crate::error::{RuntimeError, RuntimeErrorKind};

pub use login::{HostClient, Login, LoginSecret, PUBLIC, login};

/// Why an image was not fetched.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What is told.
    pub error: RuntimeError,
    /// The registry was reached, and said no.
    pub by_registry: bool,
}

impl Refused {
    /// Is an image of the host not to be used in the place of this one? A registry that knows who asks and says no has the last
    /// word. One that could not be reached has not, nor one that does not know the image and whom nobody told who he is: that is how
    /// an image that was built on the host looks.
    pub fn is_final(&self, logged_in: bool) -> bool {
        self.by_registry && logged_in
    }
}

/// That an image is not on this host, and must not be fetched.
pub fn never_fetched(image: &str) -> RuntimeError {
    let message = format!("image '{image}' is not on this host, and its pull policy is Never");
    RuntimeError::new(RuntimeErrorKind::Start(StartFailure::ImageNotFound), message)
}

/// That a registry gives an image not to this login, or to nobody without one.
pub fn denied(image: &str, login: Option<&Login>) -> String {
    match login {
        Some(login) => format!(
            "image '{image}': registry '{}' does not accept the login of {}; check config.username, config.password or the secret",
            login.server,
            login.account()
        ),
        None => format!(
            "image '{image}': its registry wants a login, or has no such image; give config.username and password, \
             image_pull_secret or use_host_auth"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_knows_who_asks_has_the_last_word() {
        let refused = |by_registry| Refused { error: never_fetched("a"), by_registry };
        assert!(refused(true).is_final(true));
        for (by_registry, logged_in) in [(true, false), (false, true), (false, false)] {
            assert!(!refused(by_registry).is_final(logged_in));
        }
    }

    #[test]
    fn who_was_not_let_in_is_told_and_no_secret() {
        let of = |secret| denied("r:1/a", Some(&Login { server: "r:1".to_owned(), secret }));
        let account = of(LoginSecret::Password { username: "ann".to_owned(), password: "s3cret".to_owned() });
        assert!(account.contains("registry 'r:1'") && account.contains("'ann'") && !account.contains("s3cret"), "{account}");
        let token = of(LoginSecret::Token("t0k".to_owned()));
        assert!(token.contains("its token") && !token.contains("t0k"), "{token}");
        assert!(denied("r:1/a", None).contains("wants a login"));
    }
}
