//! What must hold of the platform as processes.

mod crash_points;
