// SPDX-License-Identifier: GPL-2.0
/* Configuration files: what is read, and the sentence for each refusal. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf.h"
#include "kselftest_harness.h"
#include "leaks.h"

struct sample {
	char *name;
	unsigned int hold;
	bool strict;
	struct addr local;
	struct prefix aggregate;
	struct conf_listen listen;
};

#define KEY(s, k, t, m, ...) \
	{ .section = s, .key = k, .type = t, .offset = offsetof(struct sample, m), ##__VA_ARGS__ }

static const struct conf_key keys[] = {
	KEY("agent", "name", CONF_STR, name, .required = true),
	KEY("agent", "hold_ms", CONF_UINT, hold, .min = 1, .max = 60000, .fallback = "2000"),
	KEY("agent", "strict", CONF_BOOL, strict),
	KEY("device", "local", CONF_ADDR, local),
	KEY("device", "aggregate", CONF_PREFIX, aggregate),
	KEY("agent", "listen", CONF_ADDR_PORT, listen),
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static int read_text(const char *text, struct sample *out, struct err *e)
{
	char file[] = "/tmp/duet-conf-XXXXXX";
	int fd = mkstemp(file), ret;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return -EIO;
	close(fd);
	memset(out, 0, sizeof(*out));
	ret = conf_read(file, keys, N_KEYS, out, e);
	unlink(file);
	return ret;
}

TEST(reads_every_type)
{
	struct sample s;
	struct err e;
	char buf[ADDR_STRLEN];

	ASSERT_EQ(0, read_text("[agent]\nname = tor1\nstrict = yes\n"
			       "listen = 10.250.1.7:8471\n[device]\n"
			       "local = 10.254.0.7\naggregate = 203.0.113.0/24\n",
			       &s, &e));
	EXPECT_STREQ("tor1", s.name);
	EXPECT_EQ(2000, s.hold);
	EXPECT_TRUE(s.strict);
	EXPECT_STREQ("10.254.0.7", addr_str(&s.local, buf));
	EXPECT_EQ(24, s.aggregate.len);
	EXPECT_EQ(8471, s.listen.port);
	conf_free(keys, N_KEYS, &s);
	EXPECT_EQ(NULL, s.name);
}

FIXTURE(refusal) { int unused; };
FIXTURE_SETUP(refusal) { }
FIXTURE_TEARDOWN(refusal) { }
FIXTURE_VARIANT(refusal) { const char *text, *why; };
FIXTURE_VARIANT_ADD(refusal, missing) {
	.text = "[agent]\nhold_ms = 5\n", .why = ": [agent] name is missing" };
FIXTURE_VARIANT_ADD(refusal, unknown) {
	.text = "[agent]\nname = a\ncolour = red\n", .why = ":3: [agent] colour = red: no such key" };
FIXTURE_VARIANT_ADD(refusal, twice) {
	.text = "[agent]\nname = a\nname = b\n", .why = ":3: [agent] name = b: given twice" };
FIXTURE_VARIANT_ADD(refusal, range) {
	.text = "[agent]\nname = a\nhold_ms = 0\n",
	.why = ":3: [agent] hold_ms = 0: must be a number from 1 to 60000" };
FIXTURE_VARIANT_ADD(refusal, negative) {
	.text = "[agent]\nname = a\nhold_ms = -3\n",
	.why = ":3: [agent] hold_ms = -3: must be a number from 1 to 60000" };
FIXTURE_VARIANT_ADD(refusal, boolean) {
	.text = "[agent]\nname = a\nstrict = maybe\n", .why = ":3: [agent] strict = maybe: must be yes or no" };
FIXTURE_VARIANT_ADD(refusal, address) {
	.text = "[agent]\nname = a\n[device]\nlocal = 10.1.2\n",
	.why = ":4: [device] local = 10.1.2: must be an IPv4 or IPv6 address" };
FIXTURE_VARIANT_ADD(refusal, host_bits) {
	.text = "[agent]\nname = a\n[device]\naggregate = 203.0.113.1/24\n",
	.why = ":4: [device] aggregate = 203.0.113.1/24: must be a prefix such as 203.0.113.0/24 with no host bits" };
FIXTURE_VARIANT_ADD(refusal, port) {
	.text = "[agent]\nname = a\nlisten = 10.0.0.1:65536\n",
	.why = ":3: [agent] listen = 10.0.0.1:65536: must be ADDRESS:PORT" };
FIXTURE_VARIANT_ADD(refusal, syntax) {
	.text = "[agent]\nname = a\nnonsense\n", .why = ":3: neither [section] nor key = value" };

TEST_F(refusal, sentence)
{
	struct sample s;
	struct err e;

	EXPECT_EQ(-EINVAL, read_text(variant->text, &s, &e));
	EXPECT_NE(NULL, strstr(e.text, variant->why)) {
		TH_LOG("got: %s", e.text);
	}
	EXPECT_EQ(NULL, s.name);
	EXPECT_EQ(0, leaks());
}

/* Debian's inih reads 199 characters of a line: up to there all of it counts,
 * and a longer one is refused, never cut in silence.
 */
TEST(long_line)
{
	char text[2048], want[1024];
	struct sample s;
	struct err e;
	int i, n;

	for (n = 32; n <= 128; n += 96) {
		want[0] = '\0';
		for (i = 1; i <= n; i++)
			sprintf(want + strlen(want), i > 1 ? " sw%d" : "sw%d", i);
		snprintf(text, sizeof(text), "[agent]\nname = %s\nhold_ms = 77\n", want);
		if (n == 32) {
			ASSERT_EQ(0, read_text(text, &s, &e)) {
				TH_LOG("%s", e.text);
			}
			EXPECT_STREQ(want, s.name);
			EXPECT_EQ(77, s.hold);
		} else {
			EXPECT_EQ(-EINVAL, read_text(text, &s, &e));
			EXPECT_EQ(NULL, s.name);
		}
		conf_free(keys, N_KEYS, &s);
	}
}

/* The first thing wrong is what is said, and nothing is kept of the file */
TEST(first_error_wins)
{
	struct sample s;
	struct err e;

	EXPECT_EQ(-EINVAL, read_text("[agent]\nname = a\nhold_ms = 0\nstrict = maybe\nnonsense\n", &s, &e));
	EXPECT_NE(NULL, strstr(e.text, ":3: [agent] hold_ms = 0: ")) {
		TH_LOG("got: %s", e.text);
	}
	EXPECT_EQ(NULL, s.name);
}

TEST(values)
{
	struct sample s;
	struct err e;

	/* comments, spaces, an empty value, the edges of a range */
	ASSERT_EQ(0, read_text("; c\n# c\n[agent]\nname =\nstrict=no ; c\nhold_ms = 60000\n", &s, &e)) {
		TH_LOG("%s", e.text);
	}
	EXPECT_STREQ("", s.name);
	EXPECT_FALSE(s.strict);
	EXPECT_EQ(60000, s.hold);
	EXPECT_TRUE(addr_is_none(&s.local));
	conf_free(keys, N_KEYS, &s);
	EXPECT_EQ(-EINVAL, read_text("[agent]\nname = a\nhold_ms = 60001\n", &s, &e));
	EXPECT_EQ(-EINVAL, read_text("[agent]\nname = a\nhold_ms = 18446744073709551617\n", &s, &e));
	EXPECT_EQ(-EINVAL, read_text("[agent]\nname = a\nhold_ms = 5s\n", &s, &e));
	EXPECT_EQ(-EINVAL, read_text("[agent]\nname = a\nhold_ms =\n", &s, &e));
}

TEST(no_file)
{
	struct sample s = { 0 };
	struct err e;

	EXPECT_EQ(-ENOENT, conf_read("/nonexistent/duet.conf", keys, N_KEYS, &s, &e));
	EXPECT_STREQ("/nonexistent/duet.conf: No such file or directory", e.text);
	EXPECT_EQ(0, leaks());
}

TEST_HARNESS_MAIN
