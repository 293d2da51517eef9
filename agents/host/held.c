// SPDX-License-Identifier: GPL-2.0
/*
 * Which SNAT ports this host holds, remembered over a restart of the agent: the programs
 * attached go on with them, and the controller must hear of it though this process has
 * been told nothing yet. A pinned map that no program reads: what lives as long as
 * the programs do.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "message.h"
#include "snat.h"

#define NAME	 "snat-held"
#define HELD_MAX 8192

struct held_key {
	struct decap_addr vip;
	uint16_t first, last;
};

static int map_open(const char *pin)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" NAME, pin);
	return bpf_obj_get(path);
}

static int map_make(const char *pin)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "snat_held", sizeof(struct held_key), 1, HELD_MAX, &opts);

	if (fd >= 0 && pin_one(pin, NAME, fd, false)) {
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		log_warn("SNAT ports held aren't remembered over a restart of the agent: %s", strerror(errno));
	return fd;
}

static struct held_key key_of(const struct snat_def *def)
{
	return (struct held_key){ of_addr(&def->vip), def->first, def->last };
}

static bool is_in(const struct held_key *key, const struct desired *d)
{
	unsigned int i;

	for (i = 0; i < d->n_snat; i++) {
		struct held_key k = key_of(&d->snat[i]);

		if (!memcmp(key, &k, sizeof(k)))
			return true;
	}
	return false;
}

void held_add(const char *pin, const struct desired *d)
{
	int fd = d->n_snat ? map_open(pin) : -1;
	uint8_t one = 1;
	unsigned int i;

	if (fd < 0 && d->n_snat)
		fd = map_make(pin);
	if (fd < 0)
		return;
	for (i = 0; i < d->n_snat; i++) {
		struct held_key key = key_of(&d->snat[i]);

		if (bpf_map_update_elem(fd, &key, &one, BPF_ANY))
			log_warn("SNAT ports %u-%u aren't remembered over a restart of the agent: %s", key.first, key.last,
				 strerror(errno));
	}
	close(fd);
}

void held_keep(const char *pin, const struct desired *d)
{
	struct held_key key, next;
	void *last = NULL;
	int fd = map_open(pin);

	while (fd >= 0 && !bpf_map_get_next_key(fd, last, &next)) {
		if (is_in(&next, d)) {
			key = next;
			last = &key;
		} else {
			bpf_map_delete_elem(fd, &next);	/* and on from the same place */
		}
	}
	if (fd >= 0)
		close(fd);
}

void held_forget(const char *pin)
{
	static const char *const names[] = { NAME };

	pin_remove(pin, names, 1);
}

unsigned int held_get(const char *pin, struct message_range **out)
{
	struct message_range *list = calloc(HELD_MAX, sizeof(*list));
	struct held_key key;
	void *last = NULL;
	int fd = map_open(pin);
	unsigned int n = 0;

	while (list && fd >= 0 && n < HELD_MAX && !bpf_map_get_next_key(fd, last, &key)) {
		last = &key;
		list[n++] = (struct message_range){ to_addr(&key.vip), key.first, key.last };
	}
	if (fd >= 0)
		close(fd);
	*out = list;
	return n;
}
