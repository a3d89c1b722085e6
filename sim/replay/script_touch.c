/* SPDX-License-Identifier: MIT */
/*
 * The words that touch memory, a page after the other: load, store, check. A task stops where it faults.
 */
#include "replay/script_run.h"

#include <pagesim/errname.h>
#include <pagesim/fault.h>
#include <pagesim/mem.h>
#include <pagesim/mmzone.h>

u64 script_word(u64 value, u64 page)
{
	u64 x = (value + 1) * 0x9E3779B97F4A7C15ULL ^ (page + 1) * 0xC2B2AE3D27D4EB4FULL;

	return x ? x : 1;
}

static long touch(struct script_run *run)
{
	const struct ps_statement *st = run->st;
	bool write = st->verb == PS_VERB_STORE;
	struct ps_access access;
	struct script_span span;
	long wrong = 0;
	int error = 0;
	u64 i;

	if (!script_get_range(run, &span))
		return 0;
	for (i = 0; i < span.n; i++) {
		u64 number = span.at + span.first + i * span.step, word = script_word(st->value, number);

		error = ps_mmu_access(script_span_addr(&span, i), write, &access);
		if (error)
			break;
		if (write)
			page_word_write(pfn_to_page(access.pfn), word);
		else if (st->verb == PS_VERB_CHECK)
			wrong += page_word_read(pfn_to_page(access.pfn)) != word;
		ps_charge(ps_access_ns(run->world->machine, numa_node_id(), access.nid, write), PS_TIME_ACCESS);
		script_tick(run);
	}
	if (error == -ENOMEM) {
		script_fail(run, "task %s was killed: out of memory", run->actor->name);
	} else if (error) {
		g_string_append(run->out, "  = -EFAULT\n  fault: ");
		script_append_pages(run->out, "", span.first + i * span.step, span.first + i * span.step, 1);
		g_string_append(run->out, error == -ENXIO ? " SIGBUS\n" : " SIGSEGV\n");
	} else if (st->verb == PS_VERB_CHECK) {
		script_print_result(run, wrong);
	}
	return 0;
}

long verb_load(struct script_run *run)
{
	return touch(run);
}

long verb_store(struct script_run *run)
{
	return touch(run);
}

long verb_check(struct script_run *run)
{
	return touch(run);
}
