import { expect, it } from 'vitest'
import { apart, inSpace, splitId } from './ids.ts'

it.each([
  ['shop/Deployment/cart', { cluster: '', namespace: 'shop', kind: 'Deployment', name: 'cart' }],
  ['/External/10.0.0.0/8', { cluster: '', namespace: '', kind: 'External', name: '10.0.0.0/8' }],
  ['/Unit/a:b', { cluster: '', namespace: '', kind: 'Unit', name: 'a:b' }],
  ['eu-1:shop/Deployment/cart', { cluster: 'eu-1', namespace: 'shop', kind: 'Deployment', name: 'cart' }],
  ['eu%2F1%3Aa%25:/Process/nginx', { cluster: 'eu/1:a%', namespace: '', kind: 'Process', name: 'nginx' }],
  ['odd', { cluster: '', namespace: 'odd', kind: '', name: 'odd' }],
])('splits %s', (id, want) => expect(splitId(id)).toEqual(want))

it('shows the cluster only where there is more than one', () => {
  const two = { home: 'west', all: ['east', 'west'] }
  expect(inSpace({ cluster: '', namespace: 'shop' }, { home: 'west', all: ['west'] })).toBe('shop')
  expect(inSpace({ cluster: '', namespace: 'shop' }, two)).toBe('west › shop')
  expect(inSpace({ cluster: 'east', namespace: '' }, two)).toBe('east')
  const one = [{ cluster: 'west', namespace: 'shop' }]
  expect(apart(one)).toBe(one)
  expect(apart([...one, { cluster: 'east', namespace: 'shop' }]).map((n) => n.namespace)).toEqual(['west › shop', 'east › shop'])
})
