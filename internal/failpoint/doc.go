// Package failpoint ends the process at places with names, as kill -9 does, in a build with -tags failpoints: for tests of what a crash
// leaves behind. In every other build it does nothing, and costs nothing.
//
// The environment variable ISTHMUS_FAILPOINT is NAME:N, where the process ends when it comes to NAME for the Nth time.
package failpoint
