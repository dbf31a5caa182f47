//! Programs that end, politely or not.

mod drain;
mod kills;
