//! Faults planted in good objects: exactly they are named, by the whole set of rules.
