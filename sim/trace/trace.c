/* SPDX-License-Identifier: MIT */
/*
 * The words of the trace vocabulary: tables from the X-macro lists of trace.h, and nothing else.
 */
#include <pagesim/trace.h>

#include <string.h>

G_DEFINE_QUARK(pagesim - trace - error - quark, ps_trace_error)

static const struct {
	int value;
	const char *word;
} advices[] = {
#define ADVICE(name, word, value) { value, word },
	PS_ADVICE_LIST(ADVICE)
#undef ADVICE
};

static const struct {
	const char *word;
	unsigned int fields;
} kinds[PS_EVENT_KINDS] = {
#define KIND(name, word, fields) { word, fields },
	PS_EVENT_LIST(KIND)
#undef KIND
};

static const char *const clocks[] = { "ns", "instructions", "accesses" };

const char *ps_advice_word(int advice)
{
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (advices[i].value == advice)
			return advices[i].word;
	return NULL;
}

int ps_advice_from_word(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (!strcmp(advices[i].word, word))
			return advices[i].value;
	return -ENOENT;
}

const char *ps_event_word(enum ps_event_kind kind)
{
	return kinds[kind].word;
}

unsigned int ps_event_fields(enum ps_event_kind kind)
{
	return kinds[kind].fields;
}

const char *ps_trace_clock_word(enum ps_trace_clock clock)
{
	return clocks[clock];
}

int ps_trace_clock_from_word(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++)
		if (!strcmp(clocks[i], word))
			return (int)i;
	return -ENOENT;
}
