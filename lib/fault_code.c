// SPDX-License-Identifier: GPL-2.0
#include "fault_code.h"

#include <string.h>

const struct fault_info fault_infos[FAULT_CODES] = {
#define FAULT(id, code, severity, what, hurts, remedy, over) \
	[FAULT_##id] = { code, severity, what, hurts, remedy, over },
#include "faults.def"
#undef FAULT
};

enum fault_code fault_find(const char *code)
{
	enum fault_code c;

	for (c = 0; c < FAULT_CODES && strcmp(fault_infos[c].code, code); c++)
		;
	return c;
}

const char *fault_severity_name(enum fault_severity severity)
{
	return severity == FAULT_SEVERE ? "fault" : "warning";
}
