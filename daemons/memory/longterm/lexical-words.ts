/**
 * How much the commonest words of English technical prose say: ln(passages / passages with the word), to the half, over
 * 10,000 passages of Debian's manual pages; question words by hand. A word that is not here is rare and weighs `rareWeight`.
 * Part of the embedding's identity: a change here means that every vector is made again.
 */
export const rareWeight = 5.5;

export const commonWords: readonly (readonly [weight: number, words: string])[] = [
  [0.2, `the to`],
  [
    0.5,
    `and be by could did do does for how if in is its me my of or please should there this what where who why
    with would your`,
  ],
  [
    1,
    `an are as can default file from get got happens it many much name need not on see tell that use used want
    will`,
  ],
  [
    1.5,
    `aios all also any at command description files line long may no only option options output set some
    specified synopsis user when which you`,
  ],
  [
    2,
    `available but data directory each example following format given has have help information list more note
    number one other print run same so source standard system text then time using value version`,
  ],
  [
    2.5,
    `about add adjust after always archive argument arguments automatically before below bugs case character
    commands configuration content current date define details disable display either end entries environment
    error etc exit first formatting generated header here hyphenation id index input instead into justification
    kernel language left like linux lists main manual margin message mode must names new non out page path
    process program read section service show single size space specify starts string strings such supported
    than these they title type up useful values variable was way we without written`,
  ],
  [
    3,
    `above access additional address avoid based been being between binary both bytes change characters check
    code conf config contains control create created currently defaults dev device devices different directories
    documentation empty english entry even examples except filename form found free full generate generator give
    group ignored info item key last later level lib license lines local log make makes match modify most msg
    multiple net object off order otherwise package part per portability possible provided report right root
    running separated server setting shell simple since software specific specifies start status stuff support
    systems target their them those too two under unless usage users uses usr verbose via warning write zero`,
  ],
  [
    3.5,
    `accents action added ae allow allows already another application aqs arg associated base because begin
    behavior bit block blue boot bug call called cannot capital changes class client commit common configured
    contain containing contents copy course dash dashes database debug defined definitions described diablo dir
    directly disk displayed documents don done double dpkg during effect enable enabled ent equivalent errors
    escape executed exist existing exists expand fashion field fields filter flag flags followed force function
    further general headers host however ignore inc include included including installed interface items itself
    ix just library limit link listed literal ll llvm location login low machine made mark marked matching
    maximum meaningful means memory merge messages might mistakes module ms named ndent necessary needed network
    never next nicer none normally nothing nr objects old omega once operation optional original over override
    pam parameter parameters particular parts pass passed password paths pattern pi pid pitch point port
    preamble predefined prefix present printed prints processes programs project protocol public quote quotes
    rather re register regular remote remove removed reporting repository required result return rf save script
    scripts search second send session sets settings sf short shows similar special starting state stderr still
    stored style subsections symbol syntax table takes technical terminal test therefore through times titles tm
    tool tools transform translations tree turn types unbreakable undefined unicode unit units update usually
    valid variables vb ve verbatim verify versions vertical vsnapshot warranty well whether while within won
    work yourself`,
  ],
  [
    4,
    `able acc accent account actual actually addition addresses against algorithm alias allowed amount
    applications apply appropriate attempt attributes authentication auto back basic beginning blocks bp branch
    build built byte ca cache cases cause causes cb changed checks cmd color column columns comma commits
    compatibility compatible compiled complete compressed compression conditions configure connection considered
    coreutils corrections corresponding count cpu creates creating crl crt daemon daisy debugging delete
    depending depends deprecated destination detailed determine diff disabled displays distribution doesn domain
    drop dump dynamic encoding engine event events every exec executable execute execution explicitly expression
    ext extended extension extent extra factors fail failure fear feature features ff filenames filesystem find
    fixme follows foo formats fs fu fudge functions global gplv groups handle hardware hash head history home
    hostname identifier image immediately implied indent individual init install instance integer intended
    internal interpreted invocation invoked ipv issue issues keep keys known large law least length less
    libraries licenses limited links load locale locally look lp lpr mac maintained manager manpage map matches
    max method missing modified modules mount mounted namespace needs newline node normal notes notice null
    numbers offset omitted online open operations optionally os others overrides own pack packages packet
    packets pages parent parse passwd perf perform performed permitted pg pkcs place postgresql pre previous
    priority private proc processing provide provides purpose quiet range raw readable reads recommended record
    records redistribute reference relative release reports request require requires reserved resolution
    resource respectively resulting results returned returns rfc rights rules runtime seconds sections security
    select selected sent separate serviceable services several shall share shared shown sign signal skip smi
    socket specifying speed ssl started stdin stdout stop stream success suffix suite summary supplied supports
    switch symbolic symbols tab tag tags take taken tc tdg team terms three thus tmac together tro true try ts
    typically ucb uid unix until util utility utils var various very view vroff were wheel whitespace whose
    width working writing wu yes`,
  ],
  [
    4.5,
    `absolute ar ascii bin certain comment compress core deb enables ensure exits expected indicate inkstyle
    interactive label meaning metadata min mto performance post processed properties query rand rsa sequence sha
    shadow spaces statistics sure translation unknown window writes`,
  ],
];
