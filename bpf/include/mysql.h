/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
#pragma once
#include "sql.h"
__noinline int mysql_bytes(struct conn_t *c, struct work_t *w, int response)
{
	if (!c || !w)
		return STEP_STOP;
	w->keep = response;
	return event(w, WALK_UNFIT);
}
