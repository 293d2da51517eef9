// SPDX-License-Identifier: GPL-2.0
/* The key of the deployment's hash: files, text, JSON, fingerprint. */
#include "key.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

bool key_is_none(const struct secret *key)
{
	static const struct secret none;

	return key_equal(key, &none);
}

bool key_equal(const struct secret *a, const struct secret *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int key_parse(const char *text, struct secret *key)
{
	struct secret read;
	size_t i;

	if (strlen(text) != 2 * DUET_KEY_LEN)
		return -EINVAL;
	for (i = 0; i < DUET_KEY_LEN; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		read.bytes[i] = high << 4 | low;
	}
	if (key_is_none(&read))
		return -EINVAL;
	*key = read;
	return 0;
}

/* read_whole - up to size - 1 bytes; 0 or -errno. More than that is no key. */
static int read_whole(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, text + len, size - 1 - len);
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? n : 0;
	} while (n && len < size - 1);
	text[len] = '\0';
	return 0;
}

int key_read(const char *path, bool strict, struct secret *key, struct err *e)
{
	bool input = !strcmp(path, "-");
	int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), ret;
	const char *name = input ? "standard input" : path;
	char text[256], *end;
	struct stat st;

	if (fd < 0)
		return err_set(e, -errno, "key file %s: %s", name, strerror(errno));
	if (strict && !fstat(fd, &st) && st.st_mode & 077) {
		ret = err_set(e, -EPERM, "key file %s: its mode %04o gives others access; run: chmod 600 %s", name,
			      st.st_mode & 07777, name);
		goto out;
	}
	ret = read_whole(fd, text, sizeof(text));
	if (ret) {
		err_set(e, ret, "key file %s: %s", name, strerror(-ret));
		goto out;
	}
	for (end = text + strlen(text); end > text && isspace((unsigned char)end[-1]); end--)
		end[-1] = '\0';
	ret = key_parse(text, key);
	if (ret)
		err_set(e, ret, "key file %s: it must hold 32 hex digits that aren't all 0; \"duet genkey\" makes such a key", name);
out:
	explicit_bzero(text, sizeof(text));
	if (!input)
		close(fd);
	return ret;
}

int key_make(struct secret *key)
{
	do {
		if (getrandom(key, sizeof(*key), 0) != sizeof(*key))
			return -errno;
	} while (key_is_none(key));
	return 0;
}

const char *key_text(const struct secret *key, char text[KEY_TEXT])
{
	for (size_t i = 0; i < DUET_KEY_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", key->bytes[i]);
	return text;
}

void key_ready(const struct secret *key, struct duet_key *ready)
{
	duet_key_init(ready, key->bytes);
}

const char *key_fingerprint(const struct secret *key, char text[KEY_FINGERPRINT])
{
	struct duet_key ready;

	key_ready(key, &ready);
	if (key_is_none(key))
		snprintf(text, KEY_FINGERPRINT, "none");
	else
		snprintf(text, KEY_FINGERPRINT, "%016llx", (unsigned long long)duet_key_fingerprint(&ready));
	return text;
}

int key_from_json(json_t *body, const char *name, bool required, struct secret *key, struct err *e)
{
	json_t *value = json_object_get(body, name);

	*key = (struct secret){};
	if (json_object_get(body, "seed"))
		return err_set(e, -EINVAL, "\"seed\": the hash has a key of 128 bits instead; send \"key\", 32 hex digits, and no \"seed\"");
	if (!value || json_is_null(value))
		return required ? err_set(e, -EINVAL, "\"%s\" is missing: the key of the deployment's hash, 32 hex digits", name) : 0;
	if (!json_is_string(value) || key_parse(json_string_value(value), key))
		return err_set(e, -EINVAL, "\"%s\" must be 32 hex digits that aren't all 0", name);
	return 0;
}

const char *const key_names[DUET_KEYS] = { "key", "key1" };

int keys_from_json(json_t *body, bool required, struct secret keys[DUET_KEYS], struct err *e)
{
	bool any = json_is_string(json_object_get(body, key_names[1]));
	unsigned int i;

	for (i = 0; i < DUET_KEYS; i++)
		if (key_from_json(body, key_names[i], required && !i && !any, &keys[i], e))
			return -EINVAL;
	return 0;
}

int keys_have(const struct secret keys[DUET_KEYS], unsigned int i, const char *where, struct err *e)
{
	unsigned int k;
	bool any = false;

	for (k = 0; k < DUET_KEYS; k++)
		any |= !key_is_none(&keys[k]);
	if ((!i && !any) || !key_is_none(&keys[i]))
		return 0;
	return err_set(e, -EINVAL, "%s: it chooses by key %u, and the state has no \"%s\": push both keys first", where, i, key_names[i]);
}
