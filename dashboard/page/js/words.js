// Words: every text of the page, in English and Korean, in one table.
//
// A row is [English, Korean]; a text with numbers in it is a function of them. `language` is chosen once, before anything is
// drawn (main.js); changing it loads the page again. Names and messages of exceptions are data: they stay as they are, and so
// does what a server says in words that the page does not know (sentences.js).

export const LANGUAGES = Object.freeze({ en: "English", ko: "한국어" });

const plural = (n, one, many) => (n === 1 ? one : many);

export const TABLE = Object.freeze({
  // The header.
  connecting: ["Connecting", "연결 중"],
  live: ["Live", "실시간"],
  live_streams: [(n) => `Live: ${n} streams`, (n) => `실시간: 스트림 ${n}개`],
  streams_silent: [(n, all) => `${n} of ${all} streams silent`, (n, all) => `스트림 ${all}개 중 ${n}개 응답 없음`],
  no_data_yet: ["No data yet", "아직 데이터 없음"],
  stale_page: [(age) => `Stale: no data for ${age}`, (age) => `갱신 멈춤: ${age}째 데이터 없음`],
  server_away: ["The dashboard's server does not answer; trying again", "대시보드 서버가 응답하지 않아 다시 연결하는 중"],
  summary: ["Summary", "요약"],
  commands: ["commands", "커맨드"],
  requests_per_s: ["requests/s", "초당 요청"],
  errors: ["errors", "오류"],
  refused_per_s: ["refused/s", "초당 거부"],
  show_only: ["Show only", "상태별로 보기"],
  chip_open: ["open", "열림"],
  chip_half_open: ["half-open", "반열림"],
  chip_failing: ["failing", "오류 많음"],
  chip_stale: ["stale", "데이터 없음"],
  filter: ["Filter by name or group", "이름이나 그룹으로 검색"],
  sort: ["Sort", "정렬"],
  reverse: ["Reverse", "역순"],
  compact: ["Compact", "간략히 보기"],
  language: ["Language", "언어"],
  shown: [(n, all) => `${n} of ${all} shown`, (n, all) => `${all}개 중 ${n}개 표시`],
  held: ["order held while you look", "보는 동안 순서 고정"],
  by_hurts: ["What hurts most", "영향이 큰 순"],
  by_error: ["Error rate", "오류율"],
  by_volume: ["Volume", "요청량"],
  by_refused: ["Refused", "거부"],
  by_in_flight: ["In flight", "실행 중"],
  by_mean: ["Mean latency", "평균 지연 시간"],
  by_p50: ["Median latency", "지연 시간 중앙값"],
  by_p90: ["90th percentile", "90 백분위수"],
  by_p99: ["99th percentile", "99 백분위수"],
  by_p995: ["99.5th percentile", "99.5 백분위수"],
  by_name: ["Name", "이름"],

  // Streams in trouble.
  streams_in_trouble: ["Streams in trouble", "문제가 있는 스트림"],
  try_now: ["Try now", "지금 다시 시도"],
  data_never: ["no data yet", "아직 데이터 없음"],
  data_none_for: [(age) => `no data for ${age}`, (age) => `${age}째 데이터 없음`],
  trying_again_in: [(wait) => `trying again in ${wait}`, (wait) => `${wait} 후 다시 시도`],
  connected_waiting: ["connected, waiting for a message", "연결됨, 메시지를 기다리는 중"],
  link_connecting: ["connecting", "연결 중"],
  link_silent: ["nothing came over the connection", "연결되었지만 수신한 데이터가 없음"],
  link_unreachable: ["cannot reach the server", "서버에 연결할 수 없음"],
  link_no_stream: ["the address is no event stream", "이 주소는 이벤트 스트림이 아님"],
  link_ended: ["the stream ended", "스트림이 종료됨"],
  link_answered: [(status) => `the server answered ${status}`, (status) => `서버 응답 ${status}`],
  malformed: [(n, text) => `${text} malformed ${plural(n, "message", "messages")} skipped`, (n, text) => `형식이 잘못된 메시지 ${text}개를 건너뜀`],
  overflowed: ["more commands or instances than this page can hold", "커맨드나 인스턴스가 너무 많아 이 화면에 모두 표시할 수 없음"],

  // Nothing to show.
  waiting_first: ["Waiting for the first message.", "첫 메시지를 기다리는 중입니다."],
  none_reported: ["Connected. No command has reported yet.", "연결되었습니다. 아직 데이터를 보낸 커맨드가 없습니다."],
  none_matches: ["No command matches the filter.", "검색 조건에 맞는 커맨드가 없습니다."],
  board: ["Commands", "커맨드"],

  // A tile: state, since when, why, whose.
  state_closed: ["closed", "닫힘"],
  state_open: ["open", "열림"],
  state_half_open: ["half-open", "반열림"],
  state_forced_open: ["forced open", "강제 열림"],
  state_forced_closed: ["forced closed", "강제 닫힘"],
  state_disabled: ["disabled", "비활성화"],
  retry_in: ["retry in", "재시도까지"],
  until_released: ["until released", "해제할 때까지"],
  waits_for_call: ["ready to probe; waits for the next call", "시험 호출 준비됨, 다음 호출 대기"],
  since: [(age) => `for ${age}`, (age) => `${age} 전부터`],
  failing_for: [(age) => `failing for ${age}`, (age) => `${age}째 오류 발생`],
  failing_longer: [(age) => `failing for ${age} or longer`, (age) => `${age} 이상 오류 발생`],
  refused_by: [(kind, n, all) => `${kind}: ${n} of ${all} requests`, (kind, n, all) => `${kind}: 요청 ${all}건 중 ${n}건`],
  failure_when: [(age, n, text) => `${age} ago${n > 1 ? `, ${text} like it` : ""}`, (age, n, text) => `${age} 전${n > 1 ? `, 같은 오류 ${text}건` : ""}`],
  last_failure: ["Last failure", "마지막 오류"],
  in_trouble: ["Instances in trouble", "문제가 있는 인스턴스"],
  errors_of: [(percent) => `${percent} errors`, (percent) => `오류 ${percent}`],
  full_at: [(n) => `full (${n})`, (n) => `포화 (${n})`],
  silent_for: [(age) => `silent for ${age}`, (age) => `${age}째 응답 없음`],
  and_more: [(n) => `and ${n} more`, (n) => `외 ${n}개`],
  sum: ["sum of its endpoints", "엔드포인트 합계"],
  instances: [(n) => `${n} ${plural(n, "instance", "instances")}`, (n) => `인스턴스 ${n}개`],
  restarted: [
    (age, n, text) => (n > 1 ? `${text} restarts, the last one ${age} ago` : `restarted ${age} ago`),
    (age, n, text) => (n > 1 ? `재시작 ${text}회, 마지막은 ${age} 전` : `${age} 전에 재시작됨`),
  ],
  instances_silent: [(n, silent) => `${n} ${plural(n, "instance", "instances")}, ${silent} silent`, (n, silent) => `인스턴스 ${n}개, ${silent}개 응답 없음`],

  // A tile: numbers.
  two_minutes: ["2 min", "2분"],
  per_second: ["per second", "초당 요청"],
  success: ["success", "성공"],
  failure: ["failure", "실패"],
  timeout: ["timeout", "타임아웃"],
  bad_request: ["bad request", "잘못된 요청"],
  exceptions_thrown: ["raised", "예외 전파"],
  cancelled: ["cancelled", "취소"],
  responses_from_cache: ["from cache", "캐시 응답"],
  stale_responses: ["stale answers", "만료 응답"],
  refused: ["refused", "거부"],
  short_circuited: ["circuit open", "서킷 열림"],
  semaphore_rejected: ["bulkhead full", "벌크헤드 포화"],
  thread_pool_rejected: ["pool full", "스레드 풀 포화"],
  throttled: ["throttled", "스로틀링"],
  rate_limited: ["rate limited", "처리율 제한"],
  no_time_left: ["no time left", "남은 시간 없음"],
  rejected: ["rejected", "한도 초과"],
  other_refusals: ["other", "기타"],
  own_refusals: ["refused by your own policies", "사용자 정책 거부"],
  gauges: ["Gauges of policies", "정책 수치"],
  fallbacks: ["Fallbacks", "폴백"],
  fallback_success: ["fallback ok", "폴백 성공"],
  fallback_failure: ["failed", "폴백 실패"],
  fallback_rejection: ["refused", "폴백 거부"],
  fallback_missing: ["not handled", "처리 안 됨"],
  p50: ["median", "중앙값"],
  mean: ["mean", "평균"],
  p90: ["90th", "p90"],
  p95: ["95th", "p95"],
  p99: ["99th", "p99"],
  p995: ["99.5th", "p99.5"],
  worst_instance: ["percentiles: worst instance", "백분위수: 가장 느린 인스턴스 기준"],
  mean_of_hosts: ["mean of the hosts", "호스트 평균"],
  in_flight: ["in flight", "실행 중"],
  peak: ["peak", "최대"],
  abandoned: ["abandoned", "건 방치됨"],
  full: ["full", "포화"],
  errors_out_of: ["errors of", "건 오류 / 전체 요청"],
  transitions: ["Last transitions", "최근 상태 전이"],
  ago: [(age) => `${age} ago`, (age) => `${age} 전`],

  // Why a circuit changed, as the stream names it.
  trigger_failure_rate: ["failure rate", "실패율"],
  trigger_slow_rate: ["slow rate", "느린 호출 비율"],
  trigger_consecutive: ["consecutive", "연속 실패"],
  trigger_sustained_failures: ["sustained failures", "지속적인 실패"],
  trigger_halted: ["halted", "대기 요청"],
  trigger_fleet: ["fleet", "다른 인스턴스의 판단"],
  trigger_wait_elapsed: ["wait elapsed", "대기 시간 경과"],
  trigger_probe_failed: ["probe failed", "시험 호출 실패"],
  trigger_probes_passed: ["probes passed", "시험 호출 성공"],
  trigger_probes_lost: ["probes lost", "시험 호출 응답 없음"],
  trigger_forced_open: ["forced open", "강제 열림"],
  trigger_forced_closed: ["forced closed", "강제 닫힘"],
  trigger_disabled: ["disabled", "비활성화"],
  trigger_released: ["released", "해제"],
  trigger_reset: ["reset", "초기화"],
  trigger_restored: ["restored", "복원"],

  // Why a circuit is open, or a stream is away, as servers say it; see sentences.js.
  said_one_slow: ["1 call was slow", "호출 1건이 느렸음"],
  said_slow: [(n, all) => `${n} of ${all} calls were slow`, (n, all) => `호출 ${all}건 중 ${n}건이 느렸음`],
  said_one_failed: ["1 call failed", "호출 1건 실패"],
  said_failed: [(n, all) => `${n} of ${all} calls failed`, (n, all) => `호출 ${all}건 중 ${n}건 실패`],
  said_in_a_row: [(n) => `${n} calls in a row failed`, (n) => `호출 ${n}건 연속 실패`],
  said_in_a_row_over: [(n, s) => `${n} calls in a row failed, over ${s} s`, (n, s) => `${s}초 동안 호출 ${n}건 연속 실패`],
  said_halted: ["its target asked its callers to wait", "대상 서비스가 기다려 달라고 요청함"],
  said_fleet: ["other instances see its target down", "다른 인스턴스가 대상 서비스를 장애로 판단함"],
  said_gateways: [(n, all) => `${n} of ${all} gateways see it down`, (n, all) => `게이트웨이 ${all}개 중 ${n}개가 장애로 판단함`],
  said_restored: ["it was open before the process was started anew", "프로세스를 다시 시작하기 전부터 열려 있었음"],
  said_wait_elapsed: ["its wait is over, and a call came", "대기 시간이 지나 호출을 시험함"],
  said_probes_passed: ["its probes succeeded", "시험 호출 성공"],
  said_probes_lost: ["its probes did not answer in time", "시험 호출이 제때 응답하지 않음"],
  said_forced_open: ["an operator forced it open, until it is released", "운영자가 강제로 열었으며 해제할 때까지 유지됨"],
  said_forced_closed: ["an operator forced it closed, until it is released", "운영자가 강제로 닫았으며 해제할 때까지 유지됨"],
  said_disabled: ["an operator took its breaker away", "운영자가 서킷 브레이커를 없앰"],
  said_released: ["an operator released it", "운영자가 해제함"],
  said_reset: ["an operator reset it", "운영자가 초기화함"],
  said_by_hand: ["it was opened by hand", "수동으로 열림"],
  said_workers: [(n, all) => ` (in ${n} of ${all} workers)`, (n, all) => ` (워커 ${all}개 중 ${n}개)`],
  said_probes_failed: [(n) => `, and ${n} ${plural(n, "probe", "probes")} failed since`, (n) => `, 이후 시험 호출 ${n}건 실패`],
  said_no_answer: [(s) => `no answer within ${s} s`, (s) => `${s}초 안에 응답 없음`],
  said_silent: [(s) => `the stream was silent for ${s} s`, (s) => `${s}초 동안 수신한 데이터가 없음`],
  said_cannot_connect: [(why) => `cannot connect: ${why}`, (why) => `연결할 수 없음: ${why}`],
  said_broke: [(why) => `the connection broke: ${why}`, (why) => `연결이 끊어짐: ${why}`],
  said_closed_early: ["the connection was closed before an answer", "응답 전에 연결이 닫힘"],
  said_answered: [(status) => `the stream's server answered ${status}`, (status) => `스트림 서버 응답 ${status}`],
  said_refused: ["Connection refused", "연결이 거부됨"],
  said_reset_by_peer: ["Connection reset by peer", "상대가 연결을 끊음"],

  // Shadow mode.
  shadow_mode: ["in shadow mode", "섀도 모드"],
  shadow_rejected: ["would have been refused", "건이 거부 대상이었음"],
  policy_breaker: ["circuit breaker", "서킷 브레이커"],
  policy_throttle: ["throttle", "스로틀"],
  policy_rate_limit: ["rate limit", "처리율 제한"],
  policy_max_concurrent: ["bulkhead", "벌크헤드"],
  policy_adaptive_limit: ["adaptive limit", "적응형 한도"],

  // The legend.
  legend_circle: [
    "A circle's area is traffic: the solid part ran, the pale ring was refused. Its colour is the error rate, green at none to red at one half.",
    "원의 넓이는 요청량을 나타냅니다. 진한 부분은 실행된 요청, 옅은 고리는 거부된 요청입니다. 색은 오류율을 나타내며, 오류가 없으면 초록색, 절반에 이르면 빨간색입니다.",
  ],
  legend_line: [
    "Two minutes of requests per second; the filled part failed or was refused.",
    "최근 2분 동안의 초당 요청 수입니다. 채워진 부분은 실패했거나 거부된 요청입니다.",
  ],
  legend_filter_press: ["Press", "검색하려면"],
  legend_filter_do: ["to filter.", "키를 누르세요."],

  // Help.
  help: ["What the words mean", "용어 설명"],
  help_short: ["Help", "도움말"],
  help_windows: ["Counts and rates are those of the last ten seconds, percentiles those of the last minute.", "횟수와 비율은 최근 10초, 백분위수는 최근 1분을 기준으로 합니다."],
  help_closed: ["Calls go through.", "호출이 그대로 실행됩니다."],
  help_open: ["Calls are refused at once and not tried, because too many have failed.", "실패가 많아 호출을 시도하지 않고 바로 거부합니다."],
  help_half_open: ["A few calls are let through to find out whether the service works again.", "서비스가 복구되었는지 보려고 호출 몇 건만 실행합니다."],
  help_forced: ["An operator has set the state, and only an operator can end it.", "운영자가 정한 상태이며, 운영자만 해제할 수 있습니다."],
  help_failing: ["The circuit lets calls through, but a third of them or more fail or are refused.", "서킷은 닫혀 있지만 호출의 3분의 1 이상이 실패하거나 거부됩니다."],
  help_stale: ["Nothing has been heard of the command lately: its numbers are old.", "한동안 데이터가 없어 수치가 오래되었습니다."],
  help_refused: ["Calls that were not tried: the circuit was open, or a limit was reached.", "서킷이 열려 있거나 한도에 이르러 시도하지 않은 호출입니다."],
  help_rejected: ["Calls that a limit refused, and not the open circuit.", "열린 서킷이 아니라 한도 때문에 거부된 호출입니다."],
  help_short_circuited: ["Calls that the open circuit refused.", "열린 서킷이 거부한 호출입니다."],
  help_semaphore_rejected: ["As many calls were running as may run at once.", "동시에 실행할 수 있는 호출 수가 가득 찼습니다."],
  help_no_time_left: ["The caller's own time was over before the call began.", "호출을 시작하기 전에 호출한 쪽의 시간이 다 되었습니다."],
  help_bad_request: ["The caller's own mistake, which says nothing about the service.", "호출한 쪽의 잘못이며, 서비스 상태와는 관계가 없습니다."],
  help_raised: ["Calls whose caller got an exception.", "호출한 쪽이 예외를 받은 호출입니다."],
  help_shadow: ["These policies only count what they would refuse; the calls go through.", "이 정책은 거부할 호출을 세기만 하며, 호출은 그대로 실행됩니다."],
  help_fallbacks: ["A substitute answers when a call fails or is refused.", "호출이 실패하거나 거부되면 대신 응답합니다."],
  help_in_flight: ["Calls that are running now, of those that may run at once.", "지금 실행 중인 호출과 동시에 실행할 수 있는 호출 수입니다."],
  help_p99: ["99 of 100 calls took no longer than this.", "호출 100건 중 99건이 이 시간 안에 끝났습니다."],

  // Units.
  seconds: [(n) => `${n} s`, (n) => `${n}초`],
  minutes: [(n) => `${n} min`, (n) => `${n}분`],
  hours: [(n) => `${n} h`, (n) => `${n}시간`],
});

const COLUMNS = Object.keys(LANGUAGES);
let column = 0;

/** Speak this language from now on; one that is not in the table is English. */
export function speak(language) {
  column = Math.max(0, COLUMNS.indexOf(language));
}

/** The language that is spoken. */
export function spoken() {
  return COLUMNS[column];
}

/** The language that an address asks for; "": none that the page knows. */
export function languageOf(hash) {
  const wanted = new URLSearchParams(hash.slice(1)).get("lang") ?? "";
  return Object.hasOwn(LANGUAGES, wanted) ? wanted : "";
}

/** The first of the reader's languages that the page speaks. */
export function preferred(languages) {
  const known = languages.map((tag) => tag.toLowerCase().split("-")[0]).filter((tag) => COLUMNS.includes(tag));
  return known[0] ?? "en";
}

/** A text of the table; one that takes numbers gets them. */
export function say(name, ...values) {
  const text = TABLE[name][column];
  return typeof text === "function" ? text(...values) : text;
}

/** A text of the table if it is there, else the name with spaces: for words that a stream brings along. */
export function sayOr(name, other) {
  return Object.hasOwn(TABLE, name) ? TABLE[name][column] : other.replaceAll("_", " ");
}

/** Put the words of the table into markup: `data-word` names the text, `data-label` the label of an element. */
export function translate(root) {
  for (const node of root.querySelectorAll("[data-word]")) node.textContent = say(node.dataset.word);
  for (const node of root.querySelectorAll("[data-label]")) {
    const text = say(node.dataset.label);
    node.setAttribute("aria-label", text);
    if (node.placeholder) node.placeholder = text;
  }
}
