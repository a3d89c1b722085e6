/* SPDX-License-Identifier: MIT */
/*
 * The words that look and change nothing: show and smaps. What they print of one page is look.c's.
 */
#include "replay/script_run.h"

#include <string.h>

#include "replay/look.h"

long verb_show(struct script_run *run)
{
	GString *now = g_string_new(NULL), *before = g_string_new(NULL);
	struct script_span span;
	u64 start = 0, i;

	if (!script_get_range(run, &span))
		goto out;
	for (i = 0; i <= span.n; i++) {
		g_string_truncate(now, 0);
		if (i < span.n)
			look_describe(now, script_mm(run), script_span_addr(&span, i));
		if (i && (i == span.n || strcmp(now->str, before->str))) {
			g_string_append(run->out, "  ");
			script_append_pages(run->out, "", span.first + start * span.step,
					    span.first + (i - 1) * span.step, span.step);
			g_string_append_printf(run->out, " %s\n", before->str);
			start = i;
		}
		g_string_assign(before, now->str);
	}
out:
	g_string_free(now, TRUE);
	g_string_free(before, TRUE);
	return 0;
}

long verb_smaps(struct script_run *run)
{
	struct script_span span;

	if (!script_get_range(run, &span))
		return 0;
	g_string_append(run->out, "  ");
	look_smaps(run->out, script_mm(run), span.addr, span.addr + (span.n << PAGE_SHIFT));
	g_string_append_c(run->out, '\n');
	return 0;
}
