//! What these tests know the engine not to do. With a constant `true`, the rule that it names is tried and what comes
//! of it is printed, but nothing fails. Each is to become `false`, and then to go.

/// A connection whose body does not come holds no more than one buffer.
pub(crate) const SLOW_BODIES_HOLD_TWO_BUFFERS: bool = true;
