//! SQL: how audits ended, and the session in which facts are compared.

pub(crate) mod audit_run;
pub(crate) mod session;
