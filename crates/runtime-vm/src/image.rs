//! From an image to what a guest boots.
