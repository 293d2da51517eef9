/* SPDX-License-Identifier: GPL-2.0 */
/* Codes of faults: what each means, how bad it is, what to do (faults.def). */
#ifndef DUET_LIB_FAULT_CODE_H
#define DUET_LIB_FAULT_CODE_H

enum fault_severity {
	FAULT_WARNING,	/* somebody should look at it; traffic is served */
	FAULT_SEVERE,	/* traffic is hurt, or would be by the next thing that fails */
};

enum fault_code {
#define FAULT(id, code, severity, what, hurts, remedy, over) FAULT_##id,
#include "faults.def"
#undef FAULT
	FAULT_CODES
};

struct fault_info {
	const char *code;
	enum fault_severity severity;
	const char *what, *hurts, *remedy, *over;	/* sentences for people */
};

extern const struct fault_info fault_infos[FAULT_CODES];

/* fault_find - FAULT_CODES: there is no such code */
enum fault_code fault_find(const char *code);
/* fault_severity_name - "fault" or "warning" */
const char *fault_severity_name(enum fault_severity severity);

#endif
