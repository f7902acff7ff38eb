// A test's body in a process of its own: for what a process can't undo.
#pragma once

#include <functional>

namespace platter::test {

/// Runs `body` in a forked child (limits, lost privileges, signal handlers, seccomp filters stay
/// there) and returns true if no expectation failed in it and it did not crash. The child's output
/// goes where this process' goes. REQUIRES: no other thread runs.
bool in_child(const std::function<void()>& body);

/// Gives up root for good: becomes the user and group "nobody". For children.
void become_nobody();

}  // namespace platter::test
