"""What a server makes impossible, by name.

The tests that say otherwise are not tried on it; the test that bears the expectation's
name (tests/contract/test_instead_*.py) shows what it really does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What `servers` do instead of what the tests `of` say. A test is named alone, or
    with a part of its id: `test_x[part`."""

    servers: tuple[str, ...]
    does: str
    of: tuple[str, ...]


INSTEAD = {
    "collects_uploads": Instead(
        servers=("daphne", "waitress"),
        does="The whole body is read before any application runs.",
        of=(
            "test_a_body_is_not_asked_for_when_the_session_cannot_be_reached",
            "test_a_body_over_the_limit_is_refused_and_its_request_broken_off",
            "test_a_client_that_leaves_before_its_upload_begins_is_nobodys_mistake",
            "test_a_client_that_leaves_in_its_upload",
            "test_a_client_that_stalls_its_upload",
            "test_a_declared_body_over_the_limit",
            "test_a_refusal_asks_for_no_byte_of_the_body",
            "test_a_refusal_comes_while_the_client_holds_its_body_back",
            "test_a_request_that_was_not_sent_whole_does_not_leave_its_connection",
            "test_a_session_that_does_not_read_holds_the_client_up",
            "test_a_session_that_does_not_take_the_upload",
            "test_a_small_piece_of_an_upload_is_passed_on_at_once_under_asgi",
            "test_an_answer_that_waits_for_no_body_passes_at_once",
            "test_an_early_answer_passes_during_the_upload",
            "test_an_upload_arrives_while_the_client_holds_the_rest",
            "test_both_directions_at_once",
            "test_limits_come_before_connecting",
            "test_of_two_faults_the_earlier_check_answers[a reserved path before",
            "test_of_two_faults_the_earlier_check_answers[authentication before lim",
            "test_of_two_faults_the_earlier_check_answers[the key's scope before",
            "test_the_request_after_an_early_answer_is_answered",
        ),
    ),
    "answers_after_the_upload": Instead(
        servers=("cheroot",),
        does="No answer, ours included, is sent before the upload was read whole.",
        of=(
            "test_a_body_is_not_asked_for_when_the_session_cannot_be_reached",
            "test_a_client_that_stalls_its_upload",
            "test_a_declared_body_over_the_limit",
            "test_a_body_over_the_limit_is_refused_and_its_request_broken_off",
            "test_a_refusal_asks_for_no_byte_of_the_body",
            "test_a_refusal_comes_while_the_client_holds_its_body_back",
            "test_an_answer_that_waits_for_no_body_passes_at_once",
            "test_an_early_answer_passes_during_the_upload",
            "test_a_request_that_was_not_sent_whole_does_not_leave_its_connection",
            "test_limits_come_before_connecting",
            "test_of_two_faults_the_earlier_check_answers[a reserved path before",
            "test_of_two_faults_the_earlier_check_answers[authentication before lim",
            "test_of_two_faults_the_earlier_check_answers[the key's scope before",
            "test_the_request_after_an_early_answer_is_answered",
        ),
    ),
    "cannot_break_off": Instead(
        servers=("daphne",),
        does="A truncated response is left open; the client waits for the rest.",
        of=(
            "test_a_session_that_dies_in_its_body_is_seen_to",
            "test_a_session_that_dies_in_the_middle_of_an_upload_is_seen_to",
            "test_a_session_that_dies_right_after_its_head_is_seen_to",
            "test_a_stream_that_idles_too_long_is_broken_off",
            "test_a_trailer_that_would_frame_the_body_breaks_it_off",
            "test_chunks_that_are_none_break_the_answer_off",
            "test_every_request_leaves_one_line_that_says_how_it_ended",
            "test_places_are_free_again_after_any_end",
            "test_the_total_time_ends_a_busy_stream",
            "test_the_total_time_ends_a_request[body",
        ),
    ),
    "waits_for_more_of_an_upload": Instead(
        servers=("werkzeug",),
        does="An answer that breaks off before all of an upload was read is left open "
        "until the client has sent 10 MB more, or has left.",
        of=("test_a_session_that_dies_in_the_middle_of_an_upload_is_seen_to",),
    ),
    "ends_at_once": Instead(
        servers=("daphne", "waitress", "cheroot", "werkzeug"),
        does="At SIGTERM it ends with what runs, which `drain_at` cannot hold up.",
        of=("test_what_runs_when_the_server_ends_gets_its_time",),
    ),
    "takes_a_response_unread": Instead(
        servers=("daphne", "waitress"),
        does="What the client does not read is kept (waitress: up to 16 MiB).",
        of=(
            "test_a_client_that_does_not_read_holds_the_session_up",
            "test_a_client_that_stops_reading_is_let_go_when_it_idles_too_long",
            "test_a_client_that_takes_nothing",
            "test_tiny_chunks_cost_no_more_memory_than_large_ones",
        ),
    ),
    "groups_equal_fields": Instead(
        servers=("granian", "daphne", "waitress"),
        does="Fields of one name stand together, so the order of names is lost.",
        of=("test_fields_are_kept_in_order_with_duplicates",),
    ),
    "groups_equal_request_fields": Instead(
        servers=("granian", "daphne"),
        does="The same for a request's.",
        of=("test_repeated_fields_are_kept",),
    ),
    "keeps_the_last_of_equal_fields": Instead(
        servers=("cheroot",),
        does="Of equal request fields only the last is there: no two are seen.",
        of=(
            "test_a_wrong_credential[twice",
            "test_a_wrong_credential[good-one",
            "test_cookie_lines_that_a_server_joins_bring_nothing_of_the_portals_in",
            "test_more_than_one_host_field",
            "test_repeated_fields_are_kept",
            "test_two_request_ids_are_replaced",
            "test_equal_fields_by_the_thousand",
        ),
    ),
    "refuses_many_fields": Instead(
        servers=("granian", "daphne", "werkzeug"),
        does="A head of very many fields is refused before any application runs.",
        of=(
            "test_a_flood_of_header_fields_is_refused_quickly_and_asks_nobody",
            "test_equal_fields_by_the_thousand",
            "test_too_many_header_fields[10000",
        ),
    ),
    "refuses_long_targets": Instead(
        servers=("daphne",),
        does="A request line over 16 KiB breaks the connection off.",
        of=("test_twenty_thousand_parameters_arrive",),
    ),
    "switches_to_h2c": Instead(
        servers=("hypercorn",),
        does="`Upgrade: h2c` is accepted; the request is answered over HTTP/2.",
        of=("test_fields_that_never_reach_the_session[Upgrade",),
    ),
    "invents_a_host": Instead(
        servers=("granian",),
        does="A request of HTTP/1.0 without a Host has one by the time it is seen.",
        of=("test_a_request_without_a_host_is_forwarded_without_one",),
    ),
    "clears_forwarded": Instead(
        servers=("waitress",),
        does="What a peer that is not trusted says of `X-Forwarded-*` is taken out.",
        of=("test_forwarded_append_extends_what_the_front_proxy_said",),
    ),
    "drops_tabs": Instead(
        servers=("waitress", "cheroot"),
        does="A tab, which no target may hold, is taken out of it.",
        of=(
            "test_bytes_that_no_target_has_reach_nobody",
            "test_of_a_request[path",
            "test_of_a_request[query",
        ),
    ),
    "spells_raw_bytes_anew": Instead(
        servers=("werkzeug",),
        does="A byte beyond ASCII, which no target may hold, is spelled as UTF-8.",
        of=(
            "test_bytes_beyond_ascii_arrive_or_are_refused_by_the_server",
            "test_of_a_request[path",
            "test_of_a_request[query",
        ),
    ),
    "sees_no_departure": Instead(
        servers=("cheroot",),
        does="A client that leaves a silent stream is not seen before the next write.",
        of=(
            "test_a_client_that_leaves_a_silent_stream_ends_it",
            "test_a_client_that_leaves_before_the_head",
            "test_a_client_that_leaves_in_the_body",
            "test_a_full_proxy_is_overloaded",
            "test_a_place_is_held_until_the_last_byte",
            "test_clients_that_leave_in_the_middle_leave_nothing_behind",
            "test_every_request_leaves_one_line_that_says_how_it_ended",
            "test_the_requests_over_a_keys_limit_are_refused",
            "test_the_requests_over_a_sessions_limit_are_refused",
        ),
    ),
    "waits_for_who_does_not_read": Instead(
        servers=("cheroot",),
        does="A client that reads nothing keeps its place for cheroot's own 10 s.",
        of=(
            "test_a_client_that_leaves_the_rest_unread_does_not_keep_its_place",
            "test_a_client_that_stops_reading_is_let_go_when_it_idles_too_long",
            "test_a_client_that_takes_nothing",
        ),
    ),
    "merges_leading_slashes": Instead(
        servers=("waitress", "werkzeug"),
        does="`//x` is `/x` by the time it is seen, and admitted like that.",
        of=("test_what_has_not_the_routes_shape_is_the_host_applications[//",),
    ),
    "refuses_the_absolute_form": Instead(
        servers=("cheroot",),
        does="A target in absolute form is answered with 400.",
        of=(
            "test_the_absolute_form_decides_nothing",
            # What begins with two slashes is read as an authority.
            "test_what_has_not_the_routes_shape_is_the_host_applications[//",
        ),
    ),
    "keeps_an_encoded_slash": Instead(
        servers=("cheroot",),
        does="`%2F` stays encoded, so a path never gets the shape by decoding.",
        of=(
            "test_a_shape_that_appears_only_when_decoded_is_refused",
            "test_what_has_the_routes_shape_never_falls_through[%2F",
        ),
    ),
    "fails_on_trailers": Instead(
        servers=("werkzeug",),
        does="A chunked body with trailers is malformed, so it is refused with 400.",
        of=("test_trailers_of_a_request_stay_on_this_hop",),
    ),
    "refuses_a_websocket_bare": Instead(
        servers=("daphne",),
        does="A WebSocket that is refused gets a 403 without our answer.",
        of=(
            "test_a_websocket_under_wsgi",
            "test_a_websocket_is_authenticated_like_a_request",
        ),
    ),
    "closes_after_no_body": Instead(
        servers=("waitress",),
        does="An answer of 204 or 304 ends the connection.",
        of=("test_204_and_304_have_no_body_and_no_length",),
    ),
    "ends_head_with_a_chunk": Instead(
        servers=("waitress",),
        does="An answer to HEAD without a length has the last chunk, and then closes.",
        of=("test_a_body_sent_to_head_is_dropped[chunked",),
    ),
    "one_connection_a_request": Instead(
        servers=("gunicorn-sync", "werkzeug"),
        does="The connection ends with each answer.",
        of=(
            "test_a_connection_is_kept_through_uploads_and_pauses",
            "test_answers_on_one_connection_come_in_the_order_of_its_requests",
            "test_a_hundred_pipelined_requests_arrive_as_a_hundred",
            "test_bytes_after_the_body_are_another_request",
            "test_the_request_after_an_early_answer_is_answered",
        ),
    ),
    "takes_one_of_two_lengths": Instead(
        servers=("cheroot", "werkzeug"),
        does="Of two Content-Length fields that differ the last one counts.",
        of=("test_a_length_that_one_parser_reads_and_another_does_not[twice, ",),
    ),
    "ends_with_a_negative_chunk": Instead(
        servers=("cheroot",),
        does="A chunk of a negative size ends the body.",
        of=("test_chunks_that_one_parser_reads_and_another_does_not[minus",),
    ),
    "fails_on_what_is_malformed": Instead(
        servers=("granian", "cheroot"),
        does="A malformed chunk (granian), or an odd field name (cheroot), is a 500.",
        of=(),
    ),
    "takes_a_root_from_the_client": Instead(
        servers=("daphne",),
        does="`Daphne-Root-Path` is believed of any client.",
        of=(),
    ),
    "one_at_a_time": Instead(
        servers=("gunicorn-sync",),
        does="A worker takes the next request when it has answered the last.",
        of=(
            "test_a_client_that_leaves_before_its_upload_begins_is_nobodys_mistake",
            "test_a_draining_session_finishes_what_runs_and_refuses_what_is_new",
            "test_a_full_proxy_is_overloaded",
            "test_a_place_is_held_until_the_last_byte",
            "test_a_hung_session_at_its_limit_leaves_nineteen_others_alone",
            "test_a_portal_behind_a_portal_is_no_loop",
            "test_a_session_that_leads_back_to_itself_ends_in_508",
            "test_a_session_is_waited_for_until_it_listens",
            "test_a_session_that_ends_while_it_starts_is_not_found",
            "test_clients_that_leave_in_the_middle_leave_nothing_behind",
            "test_draining_without_an_end_refuses_what_is_new",
            "test_every_limit_holds_until_the_last_byte",
            "test_many_at_once_are_all_answered",
            "test_nobody_gets_somebody_elses_response",
            "test_the_first_calls_after_a_start_just_work_and_one_probe_is_made_at_a_time",
            "test_the_last_activity_is_that_of_bytes",
            "test_the_platform_may_say_that_a_session_is_ready",
            "test_the_requests_over_a_keys_limit_are_refused",
            "test_the_requests_over_a_sessions_limit_are_refused",
            "test_tiny_chunks_cost_no_more_memory_than_large_ones",
        ),
    ),
}
"""Every named expectation."""


def replaced(server: str, test: str, id: str) -> bool:
    """Whether that test is not tried on that server, for one of `INSTEAD`."""
    return any(
        server in expectation.servers and (test.startswith(name) and part in id)
        for expectation in INSTEAD.values()
        for name, _, part in (each.partition("[") for each in expectation.of)
    )
