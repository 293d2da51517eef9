// SPDX-License-Identifier: GPL-2.0
/* The fence of an agent: what is obeyed, and that the file always holds what was. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fence.h"
#include "kselftest_harness.h"
#include "leaks.h"

FIXTURE(fence) {
	char dir[32], file[64];
	struct fence f;
	struct err e;
};

FIXTURE_SETUP(fence)
{
	strcpy(self->dir, "/tmp/duet-fence-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	snprintf(self->file, sizeof(self->file), "%s/tor1.fence", self->dir);
	ASSERT_EQ(0, fence_open(&self->f, self->dir, "tor1", &self->e));
}

FIXTURE_TEARDOWN(fence)
{
	fence_close(&self->f);
	unlink(self->file);
	rmdir(self->dir);
}

/* reopen - as the agent's next start does */
static int reopen(struct fence *f, const char *dir, struct err *e)
{
	fence_close(f);
	return fence_open(f, dir, "tor1", e);
}

TEST_F(fence, order)
{
	static const struct {
		uint64_t epoch, generation;
		int want;
	} cases[] = {
		{ 5, 10, 0 }, { 5, 10, 0 }, { 5, 11, 0 }, { 5, 10, -ESTALE }, { 4, 99, -ESTALE }, { 0, 0, -ESTALE },
		{ 6, 0, 0 }, { 5, FENCE_MAX, -ESTALE }, { FENCE_MAX + 1, 0, -ERANGE }, { 7, FENCE_MAX + 1, -ERANGE },
		{ UINT64_MAX, UINT64_MAX, -ERANGE }, { 6, 0, 0 }, { FENCE_MAX, FENCE_MAX, 0 }, { FENCE_MAX, 0, -ESTALE },
	};
	struct fence *f = &self->f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fence before = *f;
		uint64_t epoch = cases[i].epoch, generation = cases[i].generation;

		EXPECT_EQ(cases[i].want, fence_check(f, epoch, generation, &self->e));
		EXPECT_EQ(before.epoch, f->epoch);
		EXPECT_EQ(cases[i].want, fence_pass(f, epoch, generation, &self->e)) TH_LOG("case %zu", i);
		EXPECT_EQ(cases[i].want ? before.epoch : epoch, f->epoch);
		EXPECT_EQ(cases[i].want ? before.generation : generation, f->generation);
		/* the file holds the same at every moment */
		before = *f;
		ASSERT_EQ(0, reopen(f, self->dir, &self->e));
		EXPECT_EQ(before.epoch, f->epoch);
		EXPECT_EQ(before.generation, f->generation);
	}
}

TEST_F(fence, forgotten)
{
	ASSERT_EQ(0, fence_pass(&self->f, FENCE_MAX, FENCE_MAX, &self->e));
	ASSERT_EQ(0, fence_reset(&self->f, &self->e));
	ASSERT_EQ(0, reopen(&self->f, self->dir, &self->e));
	EXPECT_EQ(0, self->f.epoch);
	EXPECT_EQ(0, fence_pass(&self->f, 1, 1, &self->e));
}

TEST_F(fence, killed)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		struct fence *f = &self->f;

		fence_pass(f, 3, 4, &self->e);
		fence_pass(f, 3, 5, &self->e);
		kill(getpid(), SIGKILL);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, reopen(&self->f, self->dir, &self->e));
	EXPECT_EQ(3, self->f.epoch);
	EXPECT_EQ(5, self->f.generation);
}

TEST_F(fence, unwritable)
{
	int fd = self->f.fd;

	ASSERT_EQ(0, fence_pass(&self->f, 3, 4, &self->e));
	self->f.fd = open(self->file, O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(-EBADF, fence_pass(&self->f, 3, 5, &self->e));
	EXPECT_NE(NULL, strstr(self->e.text, "can't be written"));
	EXPECT_EQ(-EBADF, fence_reset(&self->f, &self->e));
	EXPECT_EQ(3, self->f.epoch);
	EXPECT_EQ(4, self->f.generation);
	close(self->f.fd);
	self->f.fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	EXPECT_EQ(-ENOSPC, fence_pass(&self->f, 4, 0, &self->e));
	EXPECT_EQ(3, self->f.epoch);
	close(self->f.fd);
	self->f.fd = fd;
}

TEST_F(fence, garbage)
{
	static const char *const texts[] = {
		"duet-fence 1 0000000000000003 000000000000000", "duet-fence 2 0000000000000003 0000000000000004\n", "\n", "{}",
		"duet-fence 1 ffffffffffffffff 0000000000000004\n", "duet-fence 1 0000000000000003 0000000000000004\nmore",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		FILE *out = fopen(self->file, "w");

		ASSERT_NE(NULL, out);
		fputs(texts[i], out);
		fclose(out);
		EXPECT_EQ(-EUCLEAN, reopen(&self->f, self->dir, &self->e)) TH_LOG("text %zu", i);
		EXPECT_NE(NULL, strstr(self->e.text, self->file));
	}
}

TEST_F(fence, two)
{
	struct fence other;

	EXPECT_EQ(-EBUSY, fence_open(&other, self->dir, "tor1", &self->e));
	EXPECT_EQ(-ENOTDIR, fence_open(&other, self->file, "tor1", &self->e));
	EXPECT_EQ(-1, other.fd);
	fence_close(&self->f);
	EXPECT_EQ(0, symlink("/etc/passwd", self->file) ? unlink(self->file) || symlink("/etc/passwd", self->file) : 0);
	EXPECT_EQ(-ELOOP, fence_open(&self->f, self->dir, "tor1", &self->e));
}

TEST_F(fence, in_memory)
{
	struct fence f;

	ASSERT_EQ(0, fence_open(&f, NULL, "tor1", &self->e));
	EXPECT_EQ(0, fence_pass(&f, 3, 4, &self->e));
	EXPECT_EQ(-ESTALE, fence_pass(&f, 3, 3, &self->e));
	EXPECT_EQ(0, fence_reset(&f, &self->e));
	fence_close(&f);
}

TEST_HARNESS_MAIN
