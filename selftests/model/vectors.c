// SPDX-License-Identifier: GPL-2.0
/*
 * Answers questions about hash and table with the code that muxes run, so that
 * test_model.py can compare them with the model. One question a line on stdin,
 * one answer a line on stdout; numbers are hexadecimal:
 *
 *   hash4 SRC DST PORTS PROTO KEY		the hash; a key has 32 digits
 *   hash6 SRC DST PORTS PROTO KEY		the same, 32 digits an address
 *   level2 KEY				the hash of one flow under the second level's
 *					key, and the fingerprint of KEY
 *   bucket HASH BUCKETS			the bucket
 *   size N					buckets for N DIPs
 *   table ADDR/WEIGHT/DOWN ...			in any order; the answer is
 *	BUCKETS DIGEST BASE : TABLE, both with an index into the sorted DIPs for
 *	each bucket ("-" for TABLE and 0 for DIGEST if all are down), or the
 *	name of the error
 */
#include <duet/table.h>
#include <stdio.h>
#include <stdlib.h>

static int dip_cmp(const void *a, const void *b)
{
	return duet_dip_cmp(a, b);
}

/* unhex - 2 * n digits into n bytes, false if they are not */
static int unhex(const char *s, __u8 *out, int n)
{
	int i, used;
	unsigned int byte;

	for (i = 0; i < n; i++, s += 2) {
		if (sscanf(s, "%2x%n", &byte, &used) != 1 || used != 2)
			return 0;
		out[i] = byte;
	}
	return 1;
}

static int words(const char *s, __u32 w[4])
{
	struct duet_dip d;
	int i;

	if (!unhex(s, d.addr, 16))
		return 0;
	for (i = 0; i < 4; i++)
		w[i] = duet_dip_word(&d, i);
	return 1;
}

static void put_owners(const __u16 *table, __u32 buckets)
{
	__u32 b;

	for (b = 0; b < buckets; b++)
		printf(" %x", table[b]);
}

/* One DIP more than a set may have, so that "too many" can be asked too. */
static int answer_table(char *s)
{
	static struct duet_dip dips[DUET_SET_DIPS_MAX + 1];
	static struct duet_walk walk[DUET_SET_DIPS_MAX + 1];
	static __u32 keys[DUET_SET_DIPS_MAX + 1];
	static __u16 base[DUET_BUCKETS_MAX], table[DUET_BUCKETS_MAX];
	unsigned int weight, down;
	__u32 n = 0, buckets, i;
	char *word, *save;

	for (word = strtok_r(s, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		if (n > DUET_SET_DIPS_MAX || !unhex(word, dips[n].addr, 16) ||
		    sscanf(word + 32, "/%x/%x", &weight, &down) != 2)
			return 0;
		dips[n].weight = weight;
		dips[n++].down = down;
	}
	qsort(dips, n, sizeof(*dips), dip_cmp);
	buckets = duet_table_buckets(n);
	switch (duet_table_fill(dips, n, walk, base, buckets)) {
	case 0:
		break;
	case -EINVAL:
		return puts("EINVAL");
	case -ENOENT:
		return puts("ENOENT");
	default:
		return 0;
	}
	for (i = 0; i < n; i++)
		keys[i] = duet_dip_key(&dips[i]);
	if (duet_table_down(dips, n, base, table, buckets)) {
		printf("%x %llx", buckets, (unsigned long long)duet_table_digest(table, buckets, keys));
		put_owners(base, buckets);
		printf(" :");
		put_owners(table, buckets);
	} else {
		printf("%x 0", buckets);
		put_owners(base, buckets);
		printf(" : -");
	}
	return putchar('\n') != EOF;
}

static int answer(char *line)
{
	__u32 src[4], dst[4], a, b, c, d;
	char s[40], t[40], k[40];
	struct duet_key key, level2;
	__u8 bytes[DUET_KEY_LEN];

	if (!strncmp(line, "table ", 6))
		return answer_table(line + 6);
	if (sscanf(line, "hash4 %x %x %x %x %39s", &a, &b, &c, &d, k) == 5 &&
	    unhex(k, bytes, DUET_KEY_LEN)) {
		duet_key_init(&key, bytes);
		return printf("%x\n", duet_hash_v4(a, b, c, d, &key));
	}
	if (sscanf(line, "hash6 %39s %39s %x %x %39s", s, t, &c, &d, k) == 5 &&
	    words(s, src) && words(t, dst) && unhex(k, bytes, DUET_KEY_LEN)) {
		duet_key_init(&key, bytes);
		return printf("%x\n", duet_hash_v6(src, dst, c, d, &key));
	}
	if (sscanf(line, "level2 %39s", k) == 1 && unhex(k, bytes, DUET_KEY_LEN)) {
		duet_key_init(&key, bytes);
		duet_key_level2(&level2, &key);
		return printf("%x %llx\n", duet_hash_v4(0x0a000001, 0xcb007101, 40000u << 16 | 80, 6, &level2),
			      (unsigned long long)duet_key_fingerprint(&key));
	}
	if (sscanf(line, "bucket %x %x", &a, &b) == 2)
		return printf("%x\n", duet_bucket(a, b));
	if (sscanf(line, "size %x", &a) == 1)
		return printf("%x\n", duet_table_buckets(a));
	return 0;
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	int number = 1;

	for (; getline(&line, &size, stdin) > 0; number++) {
		if (!answer(line)) {
			fprintf(stderr, "vectors: line %d is no question: %.60s\n", number, line);
			free(line);
			return 2;
		}
	}
	free(line);
	return 0;
}
