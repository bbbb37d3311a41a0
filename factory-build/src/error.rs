//! What can go wrong in a build.

/// Why a build script failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The build script does not run under cargo.
    #[error("`{0}` is not set: call this from a build script")]
    NotABuildScript(&'static str),
}
