//! For the tests of nissl.
