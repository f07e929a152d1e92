//! Checks over what is deployed.
