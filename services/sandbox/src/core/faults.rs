//! Faults on purpose: rules that say which call or notification goes wrong, how, and how often.

use crate::control::messages::{AddFault, Fault, FaultView, NotificationEvent, StatementVariant};

/// The rules in the order they were added. The first one that matches a call or a notification is applied.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<FaultView>,
    next_id: u64,
}

/// What to do to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFault {
    /// Close the connection, do nothing.
    DropRequest,
    /// Refuse, do nothing; an empty code is the channel's "service unavailable".
    FailBefore {
        /// The code to answer.
        code: String,
        /// The sub code to answer.
        sub_code: String,
    },
    /// Do it, hang, and close the connection.
    TimeOutAfter {
        /// For so many milliseconds.
        hang_ms: u64,
    },
    /// Do it, and answer late.
    DelayAnswer {
        /// By so many milliseconds.
        delay_ms: u64,
    },
    /// Do it, and sign something else.
    BadAnswerSignature,
    /// Answer as if it had been done.
    PretendClosed,
}

/// What to do to one notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationFault {
    /// Attempts are lost.
    Lose {
        /// So many; `None`: all.
        attempts: Option<u32>,
    },
    /// The first attempt comes late.
    Delay {
        /// By so many milliseconds.
        delay_ms: u64,
    },
    /// It comes again although acknowledged.
    Duplicate {
        /// So many times.
        copies: u32,
    },
    /// It waits for another one to overtake it.
    Reorder,
}

enum Sorted {
    Call(CallFault),
    Notification(NotificationFault),
    Statement(Vec<StatementVariant>),
}

fn sort(fault: &Fault) -> Sorted {
    match fault {
        Fault::LoseNotification { attempts } => {
            Sorted::Notification(NotificationFault::Lose { attempts: *attempts })
        }
        Fault::DelayNotification { delay_ms } => {
            Sorted::Notification(NotificationFault::Delay { delay_ms: *delay_ms })
        }
        Fault::DuplicateNotification { copies } => {
            Sorted::Notification(NotificationFault::Duplicate { copies: *copies })
        }
        Fault::ReorderNotification => Sorted::Notification(NotificationFault::Reorder),
        Fault::Statement { variants } => Sorted::Statement(variants.clone()),
        Fault::DropRequest => Sorted::Call(CallFault::DropRequest),
        Fault::FailBefore { code, sub_code } => {
            Sorted::Call(CallFault::FailBefore { code: code.clone(), sub_code: sub_code.clone() })
        }
        Fault::TimeOutAfter { hang_ms } => Sorted::Call(CallFault::TimeOutAfter { hang_ms: *hang_ms }),
        Fault::DelayAnswer { delay_ms } => Sorted::Call(CallFault::DelayAnswer { delay_ms: *delay_ms }),
        Fault::BadAnswerSignature => Sorted::Call(CallFault::BadAnswerSignature),
        Fault::PretendClosed => Sorted::Call(CallFault::PretendClosed),
    }
}

impl Faults {
    /// Adds a rule behind the existing ones.
    pub fn add(&mut self, rule: AddFault) -> FaultView {
        self.next_id += 1;
        let view = FaultView { id: self.next_id, hits: 0, rule };
        self.rules.push(view.clone());
        view
    }

    /// The rules that still have something to do.
    pub fn list(&self) -> &[FaultView] {
        &self.rules
    }

    /// Removes the rules of an account, or all of them.
    pub fn clear(&mut self, account: Option<&str>) {
        self.rules.retain(|rule| account.is_some() && rule.rule.account.as_deref() != account);
    }

    /// The fault for a call of `operation` by the account, counted as used.
    pub fn take_call(&mut self, account: &str, operation: &str) -> Option<CallFault> {
        self.take(|rule| match sort(&rule.fault) {
            Sorted::Call(fault) => {
                let matches = applies_to(rule, account)
                    && rule.operation.as_deref().is_none_or(|wanted| wanted == operation);
                matches.then_some(fault)
            }
            Sorted::Notification(_) | Sorted::Statement(_) => None,
        })
    }

    /// The fault for a notification of the account, counted as used.
    pub fn take_notification(
        &mut self,
        account: &str,
        event: NotificationEvent,
    ) -> Option<NotificationFault> {
        self.take(|rule| match sort(&rule.fault) {
            Sorted::Notification(fault) => {
                let matches = applies_to(rule, account) && rule.event.is_none_or(|wanted| wanted == event);
                matches.then_some(fault)
            }
            Sorted::Call(_) | Sorted::Statement(_) => None,
        })
    }

    /// How the account's next statement is not as it should be, counted as used.
    pub fn take_statement(&mut self, account: &str) -> Vec<StatementVariant> {
        let taken = self.take(|rule| match sort(&rule.fault) {
            Sorted::Statement(variants) => applies_to(rule, account).then_some(variants),
            Sorted::Call(_) | Sorted::Notification(_) => None,
        });
        taken.unwrap_or_default()
    }

    fn take<T>(&mut self, matching: impl Fn(&AddFault) -> Option<T>) -> Option<T> {
        let (position, fault) = self
            .rules
            .iter()
            .enumerate()
            .find_map(|(position, view)| Some((position, matching(&view.rule)?)))?;
        let view = &mut self.rules[position];
        view.hits += 1;
        if view.rule.times.is_some_and(|times| view.hits >= u64::from(times)) {
            self.rules.remove(position);
        }
        Some(fault)
    }
}

fn applies_to(rule: &AddFault, account: &str) -> bool {
    rule.account.as_deref().is_none_or(|wanted| wanted == account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_rules_run_out_and_sticky_ones_stay() {
        let mut faults = Faults::default();
        faults.add(AddFault::new(Fault::DropRequest).times(2));
        faults.add(AddFault::new(Fault::BadAnswerSignature));
        let taken: Vec<_> = (0..4).filter_map(|_| faults.take_call("a", "m")).collect();
        assert_eq!(
            taken,
            [
                CallFault::DropRequest,
                CallFault::DropRequest,
                CallFault::BadAnswerSignature,
                CallFault::BadAnswerSignature
            ]
        );
        assert_eq!(faults.list().len(), 1);
    }

    #[test]
    fn rules_match_by_account_operation_and_event() {
        let mut faults = Faults::default();
        faults.add(AddFault::new(Fault::DropRequest).account("a").operation("alipay.trade.refund"));
        faults.add(AddFault::new(Fault::ReorderNotification).event(NotificationEvent::Refund));
        assert_eq!(faults.take_call("b", "alipay.trade.refund"), None);
        assert_eq!(faults.take_call("a", "alipay.trade.query"), None);
        assert_eq!(faults.take_call("a", "alipay.trade.refund"), Some(CallFault::DropRequest));
        assert_eq!(faults.take_notification("a", NotificationEvent::Payment), None);
        assert_eq!(
            faults.take_notification("b", NotificationEvent::Refund),
            Some(NotificationFault::Reorder)
        );

        faults.clear(Some("a"));
        assert_eq!(faults.list().len(), 1);
        faults.clear(None);
        assert!(faults.list().is_empty());
    }
}
