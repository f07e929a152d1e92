//! Checks of the services' schemas, all in the tests: while a release is rolled out, the build before it works beside the
//! new schema, and the new build finds what the one before it wrote.
