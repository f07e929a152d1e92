//! Black-box tests of the notification service.
