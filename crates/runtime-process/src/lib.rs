//! Process driver.
