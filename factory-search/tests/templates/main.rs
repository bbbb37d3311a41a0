//! Templates: headers, compilers, searches.

mod compilers;
mod headers;
mod hostile;
mod modules;
mod searches;
mod support;
