//! Faults on purpose: rules that say which call or notification goes wrong, how, and how often.

use crate::control::{AddFault, Fault, FaultView, NotificationEvent};

/// The rules in the order they were added. The first one that matches a call or a notification is applied.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<FaultView>,
    next_id: u64,
}

/// What to do to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallFault {
    DropRequest,
    FailBefore { code: String, sub_code: String },
    TimeOutAfter { hang_ms: u64 },
    DelayAnswer { delay_ms: u64 },
    BadAnswerSignature,
    PretendClosed,
}

/// What to do to one notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotificationFault {
    /// `None`: all attempts.
    Lose {
        attempts: Option<u32>,
    },
    Delay {
        delay_ms: u64,
    },
    Duplicate {
        copies: u32,
    },
    Reorder,
}

enum Sorted {
    Call(CallFault),
    Notification(NotificationFault),
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
    pub(crate) fn add(&mut self, rule: AddFault) -> FaultView {
        self.next_id += 1;
        let view = FaultView { id: self.next_id, hits: 0, rule };
        self.rules.push(view.clone());
        view
    }

    /// The rules that still have something to do.
    pub(crate) fn list(&self) -> &[FaultView] {
        &self.rules
    }

    /// Removes the rules of an app, or all of them.
    pub(crate) fn clear(&mut self, app_id: Option<&str>) {
        self.rules.retain(|rule| app_id.is_some() && rule.rule.app_id.as_deref() != app_id);
    }

    /// The fault for a call of `method` by the app, counted as used.
    pub(crate) fn take_call(&mut self, app_id: &str, method: &str) -> Option<CallFault> {
        self.take(|rule| match sort(&rule.fault) {
            Sorted::Call(fault) => {
                let matches =
                    applies_to(rule, app_id) && rule.method.as_deref().is_none_or(|wanted| wanted == method);
                matches.then_some(fault)
            }
            Sorted::Notification(_) => None,
        })
    }

    /// The fault for a notification of the app, counted as used.
    pub(crate) fn take_notification(
        &mut self,
        app_id: &str,
        event: NotificationEvent,
    ) -> Option<NotificationFault> {
        self.take(|rule| match sort(&rule.fault) {
            Sorted::Notification(fault) => {
                let matches = applies_to(rule, app_id) && rule.event.is_none_or(|wanted| wanted == event);
                matches.then_some(fault)
            }
            Sorted::Call(_) => None,
        })
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

fn applies_to(rule: &AddFault, app_id: &str) -> bool {
    rule.app_id.as_deref().is_none_or(|wanted| wanted == app_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(fault: Fault) -> AddFault {
        AddFault { app_id: None, method: None, event: None, times: None, fault }
    }

    #[test]
    fn counted_rules_run_out_and_sticky_ones_stay() {
        let mut faults = Faults::default();
        faults.add(AddFault { times: Some(2), ..rule(Fault::DropRequest) });
        faults.add(rule(Fault::BadAnswerSignature));
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
    fn rules_match_by_app_method_and_event() {
        let mut faults = Faults::default();
        faults.add(AddFault {
            app_id: Some("a".to_owned()),
            method: Some("alipay.trade.refund".to_owned()),
            ..rule(Fault::DropRequest)
        });
        faults.add(AddFault { event: Some(NotificationEvent::Refund), ..rule(Fault::ReorderNotification) });
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
