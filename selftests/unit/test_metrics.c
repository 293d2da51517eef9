// SPDX-License-Identifier: GPL-2.0
/* Prometheus text, to the byte. */
#include "kselftest_harness.h"
#include "metrics.h"

TEST(text)
{
	struct metrics *m = metrics_new();

	ASSERT_NE(NULL, m);
	metrics_family(m, "duet_vips", "gauge", "VIPs programmed");
	metrics_add(m, 10, NULL);
	metrics_family(m, "duet_packets_total", "counter", "Packets by verdict");
	metrics_add(m, 9007199254740991.0, "dev", "hmux0", "verdict", "encap", NULL);
	metrics_add(m, 0.5, "reason", "a \"quoted\\\"\nline", NULL);
	EXPECT_STREQ("# HELP duet_vips VIPs programmed\n"
		     "# TYPE duet_vips gauge\n"
		     "duet_vips 10\n"
		     "# HELP duet_packets_total Packets by verdict\n"
		     "# TYPE duet_packets_total counter\n"
		     "duet_packets_total{dev=\"hmux0\",verdict=\"encap\"} 9007199254740991\n"
		     "duet_packets_total{reason=\"a \\\"quoted\\\\\\\"\\nline\"} 0.5\n",
		     metrics_text(m));
	metrics_free(m);
}

TEST(nothing_and_much)
{
	struct metrics *m = metrics_new();
	char want[64];
	const char *text;
	int i;

	ASSERT_NE(NULL, m);
	EXPECT_STREQ("", metrics_text(m));
	metrics_family(m, "duet_vip_bytes_total", "counter", "Bytes");
	for (i = 0; i < 16384; i++) {
		snprintf(want, sizeof(want), "10.0.%d.%d", i / 256, i % 256);
		metrics_add(m, i, "vip", want, NULL);
	}
	text = metrics_text(m);
	EXPECT_NE(NULL, strstr(text, "\nduet_vip_bytes_total{vip=\"10.0.0.0\"} 0\n"));
	EXPECT_NE(NULL, strstr(text, "\nduet_vip_bytes_total{vip=\"10.0.63.255\"} 16383\n"));
	EXPECT_STREQ("16383\n", text + strlen(text) - 6);
	/* more may be added after it was read */
	metrics_add(m, -1.5, NULL);
	text = metrics_text(m);
	EXPECT_STREQ("16383\nduet_vip_bytes_total -1.5\n", text + strlen(text) - 32);
	metrics_free(m);
	metrics_free(NULL);
}

TEST_HARNESS_MAIN
