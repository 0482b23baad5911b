//! One entry changes the state.
