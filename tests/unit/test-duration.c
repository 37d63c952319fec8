/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "duration.h"
#include "support.h"

static void each_unit_has_its_length(void **state) {
        static const struct {
                const char *text;
                uint64_t usec;
        } cases[] = {
                {"500ms", UINT64_C(500000)},
                {"1ms", UINT64_C(1000)},
                {"30s", UINT64_C(30000000)},
                {"5min", UINT64_C(300000000)},
                {"1h", UINT64_C(3600000000)},
                {"10", UINT64_C(10000000)},
                {"0", 0},
                {"0ms", 0},
                {"007s", UINT64_C(7000000)},
        };

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++) {
                uint64_t usec = UINT64_MAX;

                if (duration_parse(cases[i].text, &usec) != 0 || usec != cases[i].usec)
                        fail_msg("\"%s\" gives %llu us", cases[i].text, (unsigned long long)usec);
        }
}

static void a_year_is_the_most(void **state) {
        static const char *const longest[] = {"8760h", "525600min", "31536000s", "31536000",
                                              "31536000000ms"};
        static const char *const too_long[] = {"8761h",
                                               "525601min",
                                               "31536001s",
                                               "31536001",
                                               "31536000001ms",
                                               "5124095577h", /* 2^64 us and a little */
                                               "18446744073709551615",
                                               "18446744073709551616", /* 2^64 */
                                               "18446744073709551626ms",
                                               "99999999999999999999999h"};
        uint64_t usec;

        (void)state;
        for (size_t i = 0; i < COUNT(longest); i++) {
                usec = 0;
                assert_int_equal(duration_parse(longest[i], &usec), 0);
                assert_int_equal(usec, UINT64_C(31536000000000));
        }
        for (size_t i = 0; i < COUNT(too_long); i++)
                if (duration_parse(too_long[i], &usec) != -EINVAL)
                        fail_msg("\"%s\" is taken", too_long[i]);
}

static void what_is_no_time_is_refused(void **state) {
        static const char *const cases[] = {
                "",     "s",   "ms",   "h",    " 1",  "1 ",    "1 s",  "1s ",   "\t1",
                "+1",   "-1",  "-1s",  "1.5s", "1,5", "0x10",  "1e3",  "1S",    "1MS",
                "1m",   "1us", "1sec", "1d",   "1w",  "1hour", "1h30", "1h30m", "1s1s",
                "1s\n", "ten", "1mss", "1mi",  "5-",  "\n",    "\xff", "1\xff", "1minh",
        };
        uint64_t usec;

        (void)state;
        for (size_t i = 0; i < COUNT(cases); i++)
                if (duration_parse(cases[i], &usec) != -EINVAL)
                        fail_msg("\"%s\" is taken", cases[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_unit_has_its_length),
                cmocka_unit_test(a_year_is_the_most),
                cmocka_unit_test(what_is_no_time_is_refused),
        };

        return cmocka_run_group_tests_name("duration", tests, NULL, NULL);
}
