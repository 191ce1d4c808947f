// The version of this program, equal to package.json's (a test says so). A constant, since the CLI must start fast.

/** Semantic version. */
export const VERSION = '0.1.0';
