//! Answers to file requests, in this order:
//!
//! 1. [`path`]: decode and clean the path; [`resolve`]: find the file (candidates, index, hidden
//!    files, canonical redirect, precompressed sibling), opened beneath its root;
//!    Without an index a directory may be [`listing`];
//! 2. [`proto::representation`] with its [`validator`]: 304 and 412; 206 and 416;
//! 3. [`answer`]: the response head and the [`content`] of its [`extent`], which [`body`] sends over
//!    HTTP.
//!
//! Up to the content everything is a synchronous function of the request and the file system. It is
//! first tried on the asynchronous thread with what the kernel has in memory, and again on a
//! blocking thread when that is not enough.

pub mod answer;
pub mod body;
pub mod content;
pub mod content_type;
pub mod encoding;
pub mod error;
pub mod extent;
pub mod hide;
pub mod listing;
pub mod path;
pub mod resolve;
pub mod service;
pub mod untrusted;
pub mod validator;
