// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: VIP definitions as JSON. What is refused is refused with a
 * sentence; what is taken is the same VIP after it was written and read again.
 */
#include "vip.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = json_loadb((const char *)data, size, 0, NULL), *again;
	struct vip *vip = NULL, *copy = NULL;
	struct err e = { "" };

	if (!json)
		return 0;
	if (vip_from_json(json, &vip, &e)) {
		if (vip || !e.text[0])
			__builtin_trap();
		json_decref(json);
		return 0;
	}
	again = vip_to_json(vip, false);
	if (vip_from_json(again, &copy, &e) || vip_compare(vip, copy) != VIP_SAME)
		__builtin_trap();
	vip_free(copy);
	vip_free(vip);
	json_decref(again);
	json_decref(json);
	return 0;
}
