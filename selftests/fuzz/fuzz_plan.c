// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: what POST /v1/engine/plan takes, a model and VIPs as JSON. What is
 * refused is refused with a sentence. What is taken gets a plan that its own
 * request allows: every VIP at a switch that may have it or on the SMuxes, no
 * link or table over its limit; and the same plan whatever order VIPs are in.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../controller/common.h"
#include "../../controller/engine/plan.h"

#define SLACK 1e-6

static void must(bool x)
{
	if (!x)
		__builtin_trap();
}

static json_t *named(json_t *list, const char *name)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (!strcmp(get_str(item, "name", ""), name))
			return item;
	return NULL;
}

/* may_hold - a switch of the model that takes VIPs and is there */
static bool may_hold(json_t *request, const char *mux)
{
	json_t *s = named(json_object_get(json_object_get(request, "model"), "switches"), mux);

	return s && json_is_true(json_object_get(s, "candidate")) &&
	       !json_is_true(json_object_get(s, "failed"));
}

static void places(json_t *request, json_t *plan)
{
	json_t *item, *tip;
	size_t i, k;

	json_array_foreach(json_object_get(plan, "assignment"), i, item) {
		const char *mux = get_str(item, "mux", "");

		must(get_str(item, "reason", "")[0]);
		must(!strcmp(mux, SMUX) || may_hold(request, mux));
		json_array_foreach(json_object_get(item, "tips"), k, tip) {
			must(may_hold(request, get_str(tip, "mux", "")));
			must(strcmp(mux, get_str(tip, "mux", "")));
		}
	}
}

static void limits(json_t *request, json_t *plan)
{
	static const char *const tables[] = { "tunnels", "members", "rules" };
	json_t *item, *switches = json_object_get(json_object_get(request, "model"), "switches");
	size_t i, k;

	json_array_foreach(json_object_get(plan, "links"), i, item)
		must(get_num(item, "utilisation", 2) <= 1 + SLACK);
	json_array_foreach(json_object_get(plan, "switches"), i, item) {
		json_t *sizes = json_object_get(json_array_get(switches, i), "tables");

		for (k = 0; k < 3; k++) {
			uint32_t size = get_u64(sizes, tables[k], 0);

			must(!size || get_u64(item, tables[k], UINT64_MAX) <= size);
		}
	}
}

/* backwards - the same request with its VIPs in the opposite order gives every VIP the same */
static void backwards(json_t *request, json_t *plan)
{
	json_t *vips = json_object_get(request, "vips"), *turned = json_array(),
	       *copy = json_copy(request);
	json_t *a = json_object_get(plan, "assignment"), *b, *other = NULL;
	size_t i, n = json_array_size(vips);
	struct err e = { "" };

	for (i = n; i; i--)
		json_array_append(turned, json_array_get(vips, i - 1));
	json_object_set_new(copy, "vips", turned);
	must(!plan_make(copy, &other, &e));
	b = json_object_get(other, "assignment");
	for (i = 0; i < n; i++) {
		json_t *x = json_array_get(a, i), *y = json_array_get(b, n - 1 - i);

		must(!strcmp(get_str(x, "mux", "?"), get_str(y, "mux", "!")));
		must(json_equal(json_object_get(x, "tips"), json_object_get(y, "tips")) ||
		     !json_object_get(x, "tips"));
	}
	json_decref(other);
	json_decref(copy);
}

/* another - what a value becomes: a bound, another type, a word that means something */
static json_t *another(json_t *old, unsigned int dice)
{
	static const double numbers[] = { 0, 1, -1, 1e-300, 1e300, 1e9, 0.5, 4294967296.0 };
	static const json_int_t whole[] = { 0, 1, 2, -1, 65536, UINT32_MAX, INT64_MAX, INT64_MIN };
	static const char *const words[] = { "", "internet", SMUX, "tor", "border", "core", "10.1.1.1", "::1" };
	unsigned int which = dice / 8 % 8;

	switch (dice % 8) {
	case 0:
		return json_real(numbers[which]);
	case 1:
		return json_integer(whole[which]);
	case 2:
		return json_string(words[which]);
	case 3:
		return json_boolean(which % 2);
	case 4:
		return which % 2 ? json_object() : json_array();
	default:
		return json_is_integer(old) ? json_integer(json_integer_value(old) / 2 + which) :
		       json_is_real(old)    ? json_real(json_real_value(old) * which / 4) :
					      json_deep_copy(old);
	}
}

/* spoil - the k-th value below `in`, counted in depth: gone, twice, another, or a neighbour's */
static void spoil(json_t *in, unsigned int *k, unsigned int dice)
{
	size_t i, n = json_array_size(in);
	json_t *value, *neighbour;
	const char *key;
	void *next;

	for (i = 0; i < n && *k; i++)
		if (--*k)
			spoil(json_array_get(in, i), k, dice);
		else if (dice % 4 == 0)
			json_array_remove(in, i);
		else if (dice % 4 == 1)
			json_array_insert_new(in, i, json_deep_copy(json_array_get(in, i)));
		else if (dice % 4 == 2)
			json_array_set_new(in, i, json_deep_copy(json_array_get(in, dice / 4 % n)));
		else
			json_array_set_new(in, i, another(json_array_get(in, i), dice / 4));
	json_object_foreach_safe(in, next, key, value) {
		if (!*k)
			return;
		if (--*k) {
			spoil(value, k, dice);
			continue;
		}
		for (i = dice / 4 % json_object_size(in), neighbour = NULL, next = json_object_iter(in); i; i--)
			next = json_object_iter_next(in, next);
		neighbour = json_object_iter_value(next);
		if (dice % 4 == 0)
			json_object_del(in, key);
		else if (dice % 4 == 1)
			json_object_set_new(in, key, json_deep_copy(neighbour));
		else
			json_object_set_new(in, key, another(value, dice / 4));
		return;
	}
}

static unsigned int values(json_t *in)
{
	unsigned int sum = 1;
	const char *key;
	json_t *value;
	size_t i;

	json_array_foreach(in, i, value)
		sum += values(value);
	json_object_foreach(in, key, value)
		sum += values(value);
	return sum;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

/* Most changes of a byte are only bad JSON: change values instead, and bytes now and then */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	json_t *request = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	unsigned int k, times;
	size_t made;

	if (!request || rand_r(&seed) % 16 == 0) {
		json_decref(request);
		return LLVMFuzzerMutate(data, size, max);
	}
	for (times = 1 + rand_r(&seed) % 4; times; times--) {
		k = 1 + rand_r(&seed) % values(request);
		spoil(request, &k, rand_r(&seed));
	}
	made = json_dumpb(request, (char *)data, max, JSON_COMPACT);
	json_decref(request);
	return made && made <= max ? made : LLVMFuzzerMutate(data, size, max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *request = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL),
	       *plan = NULL;
	struct err e = { "" };
	int ret;

	if (!request)
		return 0;
	ret = plan_make(request, &plan, &e);
	if (ret) {
		must(ret == -EINVAL && e.text[0] && !plan);
	} else {
		must(json_array_size(json_object_get(plan, "assignment")) ==
		     json_array_size(json_object_get(request, "vips")));
		/* with "only", VIPs that stay may be where nothing would put them now */
		if (!json_object_get(json_object_get(request, "options"), "only")) {
			places(request, plan);
			limits(request, plan);
		}
		backwards(request, plan);
		json_decref(plan);
	}
	json_decref(request);
	return 0;
}
