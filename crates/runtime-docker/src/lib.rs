//! Docker driver.
