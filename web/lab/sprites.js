// Drawings to begin with, for those who want to see first.

/** Colours by their letters, and in the order of the palette. @type {Record<string, string>} */
export const PALETTE = {
  k: '#1d1b19', w: '#ffffff', l: '#a59d92', r: '#d7352b', p: '#ff9db5', o: '#f58220', y: '#ffd23f', g: '#3fa34d',
  e: '#1f6b3a', c: '#a8dcff', b: '#2f6fd0', v: '#3b2a6e', n: '#7a4a22', s: '#f6dcb8',
};
/** What each is called. @type {Record<string, string>} */
export const COLOUR_NAMES = {
  k: 'black', w: 'white', l: 'grey', r: 'red', p: 'pink', o: 'orange', y: 'yellow', g: 'green', e: 'dark green',
  c: 'light blue', b: 'blue', v: 'violet', n: 'brown', s: 'sand',
};

/** Edge of the sprites, in pixels. */
export const SPRITE_SIZE = 16;

/** Sixteen rows of sixteen letters each. @type {Record<string, string>} */
export const SPRITES = {
  heart: `
    wwwwwwwwwwwwwwww
    wwwwwwwwwwwwwwww
    wwwrrrwwwwrrrwww
    wwrpprrwwrrrrrww
    wrpprrrrrrrrrrrw
    wrpprrrrrrrrrrrw
    wrprrrrrrrrrrrrw
    wrrrrrrrrrrrrrrw
    wwrrrrrrrrrrrrww
    wwwrrrrrrrrrrwww
    wwwwrrrrrrrrwwww
    wwwwwrrrrrrwwwww
    wwwwwwrrrrwwwwww
    wwwwwwwrrwwwwwww
    wwwwwwwwwwwwwwww
    wwwwwwwwwwwwwwww`,
  smile: `
    wwwwwwwwwwwwwwww
    wwwwwyyyyyywwwww
    wwwyyyyyyyyyywww
    wwyyyyyyyyyyyyww
    wwyyykyyyykyyyww
    wyyyykyyyykyyyyw
    wyyyykyyyykyyyyw
    wyyyyyyyyyyyyyyw
    wyyyyyyyyyyyyyyw
    wyykyyyyyyyykyyw
    wyyykyyyyyykyyyw
    wwyyykkkkkkyyyww
    wwyyyyyyyyyyyyww
    wwwyyyyyyyyyywww
    wwwwwyyyyyywwwww
    wwwwwwwwwwwwwwww`,
  house: `
    cccccccccccccccc
    ccccccccccccyycc
    cccccccrrcccyycc
    ccccccrrrrcccccc
    cccccrrrrrrccccc
    ccccrrrrrrrrcccc
    cccrrrrrrrrrrccc
    ccrrrrrrrrrrrrcc
    cccwwwwwwwwwwccc
    cccwbbwwwwbbwccc
    cccwbbwwwwbbwccc
    cccwwwwnnwwwwccc
    cccwwwwnnwwwwccc
    cccwwwwnnwwwwccc
    gggggggggggggggg
    gggggggggggggggg`,
  tree: `
    cccccccccccccccc
    ccccccggggcccccc
    cccccggggggccccc
    ccccggggggggcccc
    cccggggggggggccc
    cccgggrggggggccc
    ccggggggggrgggcc
    ccggggggggggggcc
    ccgggrggggggggcc
    cccgggggggrggccc
    ccccggggggggcccc
    cccccccnnccccccc
    cccccccnnccccccc
    cccccccnnccccccc
    eeeeeeeeeeeeeeee
    eeeeeeeeeeeeeeee`,
  fish: `
    bbbbbbbbbbbbbbbb
    bbbbbbbbbbbbbbbb
    bbbbbbbbbbbbbcbb
    bbbbbbbbbbbbbbbb
    bbbbbooooobbbbcb
    bobboooooooobbbb
    boobooooooooobbb
    bbooooooooowkobb
    bbooooooooookoob
    boobooooooooooob
    bobboooooooooobb
    bbbbbooooooobbbb
    bbbbbbbbbbbbbbbb
    bcbbbbbbbbbbbbbb
    bbbbbbbbbbbbbbbb
    bbcbbbbbbbbbbbbb`,
  mushroom: `
    wwwwwwwwwwwwwwww
    wwwwwwwwwwwwwwww
    wwwwwrrrrrrwwwww
    wwwrrrwwrrrrrwww
    wwrrrrwwrrrrrrww
    wrrrrrrrrrwwrrrw
    wrwwrrrrrrwwrrrw
    wrwwrrrwwrrrrrrw
    wrrrrrrwwrrrrrrw
    wwrrrrrrrrrrrrww
    wwwwwsssssswwwww
    wwwwwskssskswwww
    wwwwwskssskswwww
    wwwwwssssssswwww
    wwwwwwssssswwwww
    wwwwwwwwwwwwwwww`,
  moon: `
    vvvvvvvvvvvvvvvv
    vvvvvvvvvvvvyvvv
    vvvvvyyyyvvvvvvv
    vvvyyyyyvvvvvvvv
    vvvyyyyvvvvvvvvv
    vvyyyyvvvvvvvvvv
    vvyyyyvvvvvyvvvv
    vvyyyyvvvvvvvvvv
    vvyyyyvvvvvvvvvv
    vvyyyyyvvvvvvvyv
    vvvyyyyyvvvvyvvv
    vvvyyyyyyyyyyvvv
    vvvvvyyyyyyvvvvv
    vyvvvvvvvvvvvvvv
    vvvvvvvvvvvvvyvv
    vvvvvvvvvvvvvvvv`,
  cup: `
    ssssssssssssssss
    sssssslssslsssss
    ssssslssslssssss
    sssssslssslsssss
    ssssssssssssssss
    ssbbbbbbbbbbssss
    ssbbbbbbbbbbbbss
    ssbbbbbbbbbbssbs
    ssbbbbbbbbbbssbs
    ssbbbbbbbbbbssbs
    ssbbbbbbbbbbbbss
    sssbbbbbbbbsssss
    ssssbbbbbbssssss
    sswwwwwwwwwwwsss
    ssssssssssssssss
    ssssssssssssssss`,
};

/** The RGB bytes of a text of letters. @param {string} letters */
export function spriteBytes(letters) {
  const rgb = (/** @type {string} */ letter) => bytesOf(PALETTE[letter]);
  return Uint8Array.from([...letters.replaceAll(/\s/g, '')].flatMap(rgb));
}

/** Three bytes of a colour such as `#d7352b`. @param {string} colour */
export function bytesOf(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}
