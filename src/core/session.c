/* SPDX-License-Identifier: MIT */
#include "session.h"

const char *session_reason(uint32_t reason) {
        static const char *const names[SESSION_REASONS] = {
                [SESSION_EOF] = "eof",         [SESSION_RESET] = "reset", [SESSION_DRAIN] = "drain",
                [SESSION_TIMEOUT] = "timeout", [SESSION_ERROR] = "error", [SESSION_LOST] = "lost",
        };

        return reason < SESSION_REASONS ? names[reason] : "error";
}
